"""A real service under faults: `python -m chaos --seeds 1-4 --faults 25`, or `make chaos`.

processes   the programs of a service, each its own process, started again when they end
service     PostgreSQL, Redis, API, relay and workers, with leases short enough for faults to show
journey     tenants, data and models, registered over HTTP while the faults go on
stream      deletion requests, posted until they are accepted, and some taken back
faults      what is done to them: one function per kind
recovery    how long until all work goes on, and until everything that was accepted is settled
checker     reads the database and the storage, and nothing else, and says which promise is broken
audit_chain the checker's look at the audit log: every row in one chain, every end signed
run         one seed, from an empty database to the verdict
results     what the seeds add up to
"""
