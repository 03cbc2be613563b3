CREATE TABLE opendsr_requests (
    tenant_id UUID NOT NULL,
    subject_request_id UUID NOT NULL,
    regulation TEXT NOT NULL,
    api_version TEXT NOT NULL,
    submitted_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expected_at TIMESTAMP WITH TIME ZONE NOT NULL,
    instance_count INTEGER NOT NULL,
    deletion_request_id UUID,
    stub_status TEXT,
    body_digest BYTEA NOT NULL,
    id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_opendsr_requests PRIMARY KEY (id),
    CONSTRAINT uq_opendsr_requests_tenant_id_id UNIQUE (tenant_id, id),
    CONSTRAINT uq_opendsr_requests_tenant_id_subject_request_id UNIQUE (tenant_id, subject_request_id),
    CONSTRAINT fk_opendsr_requests_tenant_id_deletion_request_id FOREIGN KEY(tenant_id, deletion_request_id) REFERENCES deletion_requests (tenant_id, id),
    CONSTRAINT ck_opendsr_requests_stub_status CHECK (stub_status IN ('pending', 'in_progress', 'completed', 'cancelled')),
    CONSTRAINT ck_opendsr_requests_stubs_delete_nothing CHECK (stub_status IS NULL OR deletion_request_id IS NULL),
    CONSTRAINT fk_opendsr_requests_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id)
)
;
CREATE TABLE opendsr_callbacks (
    tenant_id UUID NOT NULL,
    opendsr_request_id UUID NOT NULL,
    url TEXT NOT NULL,
    told_status TEXT,
    attempts INTEGER DEFAULT 0 NOT NULL,
    next_attempt_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    claim UUID,
    last_error TEXT,
    given_up_at TIMESTAMP WITH TIME ZONE,
    id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_opendsr_callbacks PRIMARY KEY (id),
    CONSTRAINT fk_opendsr_callbacks_tenant_id_opendsr_request_id FOREIGN KEY(tenant_id, opendsr_request_id) REFERENCES opendsr_requests (tenant_id, id)
)
;
CREATE INDEX ix_opendsr_callbacks_open ON opendsr_callbacks (next_attempt_at) WHERE given_up_at IS NULL AND (told_status IS NULL OR told_status NOT IN ('completed', 'cancelled'))
;
CREATE INDEX ix_opendsr_callbacks_opendsr_request_id ON opendsr_callbacks (opendsr_request_id)
;
CREATE TABLE identity_instances (
    dataset_id UUID NOT NULL,
    identity_hash BYTEA NOT NULL,
    instance_hash BYTEA NOT NULL,
    tenant_id UUID NOT NULL,
    CONSTRAINT pk_identity_instances PRIMARY KEY (dataset_id, identity_hash, instance_hash),
    CONSTRAINT fk_identity_instances_tenant_id_dataset_id FOREIGN KEY(tenant_id, dataset_id) REFERENCES datasets (tenant_id, id) ON DELETE CASCADE
)
;
GRANT SELECT, INSERT, UPDATE ON opendsr_requests TO lethe_app
;
GRANT SELECT, INSERT, UPDATE ON opendsr_callbacks TO lethe_app
;
GRANT SELECT, INSERT, DELETE ON identity_instances TO lethe_app
