"""Telling a tenant's own systems what happens (Standard Webhooks 1.0). `app.relay.courier` delivers."""
