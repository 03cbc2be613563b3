"""Who may run a job and for how long: claim, heartbeat, monitor, and how an attempt ends."""
