"""What a run does, one file per verb: load → unlearn → evaluate → publish → notify; and the validations."""
