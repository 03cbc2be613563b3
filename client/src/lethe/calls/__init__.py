"""What can be asked of the service: one plan per call, described once for both clients."""
