"""The status of an OpenDSR request (specification, section 8): that of its deletion request, in fewer words.

There is no word for a failure. What has failed, or waits for a person, is not done and not given up: it is
`in_progress` until somebody has it carried out or cancels it; what waits for an approval is `pending`.
"""

# For a query on opendsr_requests AS r.
STATUS = """
CASE WHEN r.stub_status IS NOT NULL THEN r.stub_status
  WHEN r.deletion_request_id IS NULL THEN 'completed'
  ELSE (
    SELECT CASE WHEN array_agg(d.status) <@ '{queued,awaiting_approval}' THEN 'pending'
      WHEN array_agg(d.status) <@ '{cancelled}' THEN 'cancelled'
      WHEN array_agg(d.status) <@ '{succeeded,cancelled}' THEN 'completed'
      ELSE 'in_progress' END
    FROM deletion_requests d
    WHERE d.status IS NOT NULL
      AND (d.id = r.deletion_request_id OR d.parent_id = r.deletion_request_id)
  ) END
"""
"""Of the deletion request itself, or of its children when it is on a data set and has none of its own."""
