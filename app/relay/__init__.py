"""What runs beside the API: `python -m app.relay`.

dispatch       outbox rows become wake-ups at the broker, and wake-ups that came to nothing are sent again
leases         jobs whose worker fell silent are queued again, or failed for good
unanswered     cancellations that no worker carried out, and candidates that nobody decided on
adoption       queued requests without a job get one
deadlines      alarms before and after a request's dates
certification  requests that were carried out get their signed certificates
sealing        the audit log's rows are chained, and the end of the chain is signed
journal        what was asked to be forgotten, written down in the storage as well
audit_journal  the newest signature under each audit log, written down there too
courier        webhooks and OpenDSR callbacks are taken to their receivers
disposal       what nothing refers to any more is removed

PostgreSQL is the only source of truth: every step is its own short transaction, may run twice, and may run
in several relays at once.
"""
