"""The embedded deployment: PostgreSQL, Redis, API, relay and workers under one command and in one folder.

    python -m app.standalone

For tests and demonstrations the parts can be used by themselves, each as a context manager:
`deployment.EmbeddedDeployment`, and below it `postgres.PostgresServer` and `redis.RedisServer`, which import
nothing of the service.
"""
