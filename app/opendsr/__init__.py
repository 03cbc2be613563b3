"""OpenDSR 2.0: a door through which privacy tools start deletion requests. docs/opendsr.md says how every
open question of the specification was decided.

endpoints   discovery, the certificate, create, status, cancel; stubs
tables      upload of which instances an identity stands for
reading     a body becomes an erasure; both shapes of subject_identities
identities  normal forms and keyed hashes
resolving   identities become instances, by the table or by the operator's resolver
service     an erasure becomes a deletion request
status      of an OpenDSR request: that of its deletion request, in the specification's words
signing     answers and callbacks
"""
