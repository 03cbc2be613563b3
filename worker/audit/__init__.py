"""A stronger look at a published version than its own report takes: `python -m worker.audit`."""
