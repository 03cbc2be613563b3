"""Telling a tenant's own systems what happens (Standard Webhooks 1.0). The relay delivers: `app.relay.courier`."""
