"""What schemathesis makes of the OpenAPI document, thrown at the real application on a real PostgreSQL."""
