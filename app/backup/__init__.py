"""Backups of database and storage together, and how to come back from one: `python -m app.backup`.

create     dump the database, then copy the storage
restore    load a dump into an empty database, and copy the storage back where it is a folder
reapply    ask again for what the journal in the storage names and the database does not know
sweep      remove what the storage has of the time after the backup, and no row knows any more
check      read every version's bytes and compare them with their digests
"""
