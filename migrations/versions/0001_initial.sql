-- The first schema: tables, then roles, triggers, transition rows and grants.
-- Statements are separated by lines of a single semicolon, because functions contain semicolons too.

CREATE TABLE state_transitions (
    machine TEXT NOT NULL,
    before TEXT NOT NULL,
    after TEXT NOT NULL,
    CONSTRAINT pk_state_transitions PRIMARY KEY (machine, before, after)
)
;
CREATE TABLE tenants (
    name TEXT NOT NULL,
    allowed_roots TEXT[] DEFAULT '{}' NOT NULL,
    last_claimed_at TIMESTAMP WITH TIME ZONE,
    id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_tenants PRIMARY KEY (id),
    CONSTRAINT uq_tenants_name UNIQUE (name)
)
;
CREATE TABLE artifacts (
    tenant_id UUID NOT NULL,
    kind TEXT NOT NULL,
    path TEXT NOT NULL,
    state TEXT DEFAULT 'pending' NOT NULL,
    sha256 BYTEA,
    size BIGINT,
    job_id UUID,
    id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_artifacts PRIMARY KEY (id),
    CONSTRAINT uq_artifacts_tenant_id_id UNIQUE (tenant_id, id),
    CONSTRAINT ck_artifacts_state CHECK (state IN ('pending', 'stored', 'deleted')),
    CONSTRAINT ck_artifacts_stored_has_digest CHECK (state <> 'stored' OR (octet_length(sha256) = 32 AND size >= 0)),
    CONSTRAINT fk_artifacts_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id),
    CONSTRAINT uq_artifacts_path UNIQUE (path)
)
;
CREATE TABLE audit_log (
    id BIGSERIAL NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    tenant_id UUID NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject_id UUID,
    request_id TEXT,
    data JSONB DEFAULT '{}' NOT NULL,
    CONSTRAINT pk_audit_log PRIMARY KEY (id),
    CONSTRAINT fk_audit_log_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id)
)
;
CREATE INDEX ix_audit_log_tenant_id_id ON audit_log (tenant_id, id)
;
CREATE TABLE datasets (
    tenant_id UUID NOT NULL,
    name TEXT NOT NULL,
    format TEXT NOT NULL,
    url TEXT NOT NULL,
    holdout_url TEXT,
    status TEXT DEFAULT 'validating' NOT NULL,
    error_code TEXT,
    error_detail TEXT,
    fingerprint TEXT,
    holdout_fingerprint TEXT,
    instance_count BIGINT,
    holdout_count BIGINT,
    targets JSONB,
    hash_key_id TEXT,
    id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_datasets PRIMARY KEY (id),
    CONSTRAINT uq_datasets_tenant_id_id UNIQUE (tenant_id, id),
    CONSTRAINT uq_datasets_tenant_id_name UNIQUE (tenant_id, name),
    CONSTRAINT ck_datasets_status CHECK (status IN ('validating', 'ready', 'rejected')),
    CONSTRAINT ck_datasets_ready_is_described CHECK (status <> 'ready' OR (fingerprint IS NOT NULL AND instance_count > 0 AND targets IS NOT NULL)),
    CONSTRAINT fk_datasets_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id)
)
;
CREATE TABLE instance_lists (
    tenant_id UUID NOT NULL,
    instance_count INTEGER NOT NULL,
    hash_key_id TEXT NOT NULL,
    id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_instance_lists PRIMARY KEY (id),
    CONSTRAINT uq_instance_lists_tenant_id_id UNIQUE (tenant_id, id),
    CONSTRAINT fk_instance_lists_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id)
)
;
CREATE TABLE events (
    id BIGSERIAL NOT NULL,
    tenant_id UUID NOT NULL,
    subject_id UUID NOT NULL,
    type TEXT NOT NULL,
    data JSONB DEFAULT '{}' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_events PRIMARY KEY (id),
    CONSTRAINT fk_events_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id)
)
;
CREATE INDEX ix_events_subject_id_id ON events (subject_id, id)
;
CREATE TABLE idempotency_keys (
    tenant_id UUID NOT NULL,
    key TEXT NOT NULL,
    request_sha256 BYTEA NOT NULL,
    status INTEGER,
    location TEXT,
    body JSONB,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_idempotency_keys PRIMARY KEY (tenant_id, key),
    CONSTRAINT fk_idempotency_keys_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id)
)
;
CREATE INDEX ix_idempotency_keys_created_at ON idempotency_keys (created_at)
;
CREATE TABLE api_keys (
    tenant_id UUID NOT NULL,
    public_id TEXT NOT NULL,
    secret_sha256 BYTEA NOT NULL,
    name TEXT NOT NULL,
    scopes TEXT[] NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE,
    revoked_at TIMESTAMP WITH TIME ZONE,
    last_used_at TIMESTAMP WITH TIME ZONE,
    id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_api_keys PRIMARY KEY (id),
    CONSTRAINT uq_api_keys_tenant_id_id UNIQUE (tenant_id, id),
    CONSTRAINT ck_api_keys_secret_is_a_digest CHECK (octet_length(secret_sha256) = 32),
    CONSTRAINT fk_api_keys_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id),
    CONSTRAINT uq_api_keys_public_id UNIQUE (public_id)
)
;
CREATE INDEX ix_api_keys_tenant_id ON api_keys (tenant_id)
;
CREATE TABLE dataset_instances (
    dataset_id UUID NOT NULL,
    instance_hash BYTEA NOT NULL,
    tenant_id UUID NOT NULL,
    position BIGINT NOT NULL,
    supervised BIGINT NOT NULL,
    CONSTRAINT pk_dataset_instances PRIMARY KEY (dataset_id, instance_hash),
    CONSTRAINT fk_dataset_instances_tenant_id_dataset_id FOREIGN KEY(tenant_id, dataset_id) REFERENCES datasets (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT uq_dataset_instances_dataset_id_position UNIQUE (dataset_id, position)
)
;
CREATE TABLE instance_list_items (
    instance_list_id UUID NOT NULL,
    instance_hash BYTEA NOT NULL,
    tenant_id UUID NOT NULL,
    position INTEGER NOT NULL,
    CONSTRAINT pk_instance_list_items PRIMARY KEY (instance_list_id, instance_hash),
    CONSTRAINT fk_instance_list_items_tenant_id_instance_list_id FOREIGN KEY(tenant_id, instance_list_id) REFERENCES instance_lists (tenant_id, id) ON DELETE CASCADE
)
;
CREATE TABLE registered_models (
    tenant_id UUID NOT NULL,
    name TEXT NOT NULL,
    dataset_id UUID NOT NULL,
    network JSONB NOT NULL,
    recipe JSONB NOT NULL,
    policy JSONB NOT NULL,
    status TEXT DEFAULT 'awaiting_checkpoint' NOT NULL,
    error_code TEXT,
    error_detail TEXT,
    head_version_id UUID,
    checkpoint_url TEXT,
    id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_registered_models PRIMARY KEY (id),
    CONSTRAINT uq_registered_models_tenant_id_id UNIQUE (tenant_id, id),
    CONSTRAINT uq_registered_models_tenant_id_name UNIQUE (tenant_id, name),
    CONSTRAINT fk_registered_models_tenant_id_dataset_id FOREIGN KEY(tenant_id, dataset_id) REFERENCES datasets (tenant_id, id),
    CONSTRAINT ck_registered_models_status CHECK (status IN ('awaiting_checkpoint', 'validating', 'ready', 'rejected')),
    CONSTRAINT ck_registered_models_ready_has_head CHECK (status <> 'ready' OR head_version_id IS NOT NULL),
    CONSTRAINT fk_registered_models_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id)
)
;
CREATE TABLE model_tasks (
    registered_model_id UUID NOT NULL,
    name TEXT NOT NULL,
    tenant_id UUID NOT NULL,
    position INTEGER NOT NULL,
    kind TEXT NOT NULL,
    outputs INTEGER NOT NULL,
    remaining BIGINT,
    CONSTRAINT pk_model_tasks PRIMARY KEY (registered_model_id, name),
    CONSTRAINT fk_model_tasks_tenant_id_registered_model_id FOREIGN KEY(tenant_id, registered_model_id) REFERENCES registered_models (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT uq_model_tasks_registered_model_id_position UNIQUE (registered_model_id, position),
    CONSTRAINT ck_model_tasks_outputs_positive CHECK (outputs > 0)
)
;
CREATE TABLE model_versions (
    tenant_id UUID NOT NULL,
    registered_model_id UUID NOT NULL,
    number INTEGER NOT NULL,
    parent_id UUID,
    job_id UUID,
    artifact_id UUID NOT NULL,
    state TEXT DEFAULT 'pending' NOT NULL,
    guarantee TEXT,
    report JSONB,
    id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_model_versions PRIMARY KEY (id),
    CONSTRAINT uq_model_versions_tenant_id_id UNIQUE (tenant_id, id),
    CONSTRAINT uq_model_versions_tenant_id_registered_model_id_id UNIQUE (tenant_id, registered_model_id, id),
    CONSTRAINT uq_model_versions_registered_model_id_number UNIQUE (registered_model_id, number),
    CONSTRAINT fk_model_versions_tenant_id_registered_model_id FOREIGN KEY(tenant_id, registered_model_id) REFERENCES registered_models (tenant_id, id),
    CONSTRAINT fk_model_versions_tenant_id_registered_model_id_parent_id FOREIGN KEY(tenant_id, registered_model_id, parent_id) REFERENCES model_versions (tenant_id, registered_model_id, id),
    CONSTRAINT fk_model_versions_tenant_id_artifact_id FOREIGN KEY(tenant_id, artifact_id) REFERENCES artifacts (tenant_id, id),
    CONSTRAINT ck_model_versions_state CHECK (state IN ('pending', 'rejected', 'published', 'superseded', 'quarantined', 'deleted')),
    CONSTRAINT ck_model_versions_number_positive CHECK (number > 0),
    CONSTRAINT ck_model_versions_first_has_no_parent CHECK ((number = 1) = (parent_id IS NULL)),
    CONSTRAINT ck_model_versions_guarantee CHECK (guarantee IN ('exact', 'empirical')),
    CONSTRAINT uq_model_versions_job_id UNIQUE (job_id)
)
;
CREATE TABLE jobs (
    tenant_id UUID NOT NULL,
    kind TEXT NOT NULL,
    dataset_id UUID,
    registered_model_id UUID,
    method TEXT,
    status TEXT DEFAULT 'queued' NOT NULL,
    phase TEXT,
    accepts_requests BOOLEAN DEFAULT false NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE,
    not_before TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    fence INTEGER DEFAULT 0 NOT NULL,
    attempt INTEGER DEFAULT 0 NOT NULL,
    lease_expires_at TIMESTAMP WITH TIME ZONE,
    lease_holder TEXT,
    cancel_requested_at TIMESTAMP WITH TIME ZONE,
    drain_requested_at TIMESTAMP WITH TIME ZONE,
    progress JSONB,
    device TEXT,
    http_request_id TEXT,
    base_version_id UUID,
    candidate_artifact_id UUID,
    approved_at TIMESTAMP WITH TIME ZONE,
    approved_by UUID,
    snapshot_artifact_id UUID,
    report JSONB,
    error_code TEXT,
    error_detail TEXT,
    started_at TIMESTAMP WITH TIME ZONE,
    finished_at TIMESTAMP WITH TIME ZONE,
    dispatched_at TIMESTAMP WITH TIME ZONE,
    revision INTEGER DEFAULT 1 NOT NULL,
    id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_jobs PRIMARY KEY (id),
    CONSTRAINT uq_jobs_tenant_id_id UNIQUE (tenant_id, id),
    CONSTRAINT fk_jobs_tenant_id_dataset_id FOREIGN KEY(tenant_id, dataset_id) REFERENCES datasets (tenant_id, id),
    CONSTRAINT fk_jobs_tenant_id_registered_model_id FOREIGN KEY(tenant_id, registered_model_id) REFERENCES registered_models (tenant_id, id),
    CONSTRAINT fk_jobs_tenant_id_registered_model_id_base_version_id FOREIGN KEY(tenant_id, registered_model_id, base_version_id) REFERENCES model_versions (tenant_id, registered_model_id, id),
    CONSTRAINT fk_jobs_tenant_id_candidate_artifact_id FOREIGN KEY(tenant_id, candidate_artifact_id) REFERENCES artifacts (tenant_id, id),
    CONSTRAINT fk_jobs_tenant_id_snapshot_artifact_id FOREIGN KEY(tenant_id, snapshot_artifact_id) REFERENCES artifacts (tenant_id, id),
    CONSTRAINT fk_jobs_tenant_id_approved_by FOREIGN KEY(tenant_id, approved_by) REFERENCES api_keys (tenant_id, id),
    CONSTRAINT ck_jobs_kind CHECK (kind IN ('validate_dataset', 'validate_model', 'unlearn')),
    CONSTRAINT ck_jobs_status CHECK (status IN ('queued', 'running', 'cancelling', 'succeeded', 'failed', 'cancelled', 'needs_review')),
    CONSTRAINT ck_jobs_phase CHECK (phase IN ('loading', 'unlearning', 'evaluating', 'publishing')),
    CONSTRAINT ck_jobs_names_its_subject CHECK ((kind = 'validate_dataset') = (dataset_id IS NOT NULL) AND (kind = 'validate_dataset') = (registered_model_id IS NULL) AND (kind = 'unlearn') = (method IS NOT NULL)),
    CONSTRAINT ck_jobs_active_has_lease CHECK ((status IN ('running', 'cancelling')) = (lease_expires_at IS NOT NULL)),
    CONSTRAINT ck_jobs_open_is_queued CHECK (NOT accepts_requests OR status = 'queued'),
    CONSTRAINT fk_jobs_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id)
)
;
CREATE INDEX ix_jobs_tenant_id_id ON jobs (tenant_id, id)
;
CREATE INDEX ix_jobs_dataset_id ON jobs (dataset_id) WHERE dataset_id IS NOT NULL
;
CREATE INDEX ix_jobs_registered_model_id ON jobs (registered_model_id)
;
CREATE UNIQUE INDEX uq_jobs_one_active_per_model ON jobs (registered_model_id) WHERE status IN ('running', 'cancelling', 'needs_review')
;
CREATE INDEX ix_jobs_queued ON jobs (due_at, created_at) WHERE status = 'queued'
;
CREATE INDEX ix_jobs_leased ON jobs (lease_expires_at) WHERE status IN ('running', 'cancelling')
;
CREATE UNIQUE INDEX uq_jobs_one_open_per_model_and_method ON jobs (registered_model_id, method) WHERE accepts_requests
;
CREATE TABLE aliases (
    registered_model_id UUID NOT NULL,
    name TEXT NOT NULL,
    tenant_id UUID NOT NULL,
    version_id UUID NOT NULL,
    CONSTRAINT pk_aliases PRIMARY KEY (registered_model_id, name),
    CONSTRAINT fk_aliases_tenant_id_registered_model_id_version_id FOREIGN KEY(tenant_id, registered_model_id, version_id) REFERENCES model_versions (tenant_id, registered_model_id, id)
)
;
CREATE TABLE deletion_requests (
    tenant_id UUID NOT NULL,
    parent_id UUID,
    dataset_id UUID NOT NULL,
    registered_model_id UUID,
    job_id UUID,
    api_key_id UUID,
    tasks TEXT[] NOT NULL,
    scope TEXT NOT NULL,
    method TEXT NOT NULL,
    instance_count INTEGER NOT NULL,
    already_forgotten INTEGER DEFAULT 0 NOT NULL,
    hash_key_id TEXT NOT NULL,
    http_request_id TEXT,
    reference TEXT,
    regulation TEXT,
    metadata JSONB DEFAULT '{}' NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE,
    status TEXT,
    cancel_requested_at TIMESTAMP WITH TIME ZONE,
    finished_at TIMESTAMP WITH TIME ZONE,
    result_version_id UUID,
    error_code TEXT,
    error_detail TEXT,
    revision INTEGER DEFAULT 1 NOT NULL,
    id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_deletion_requests PRIMARY KEY (id),
    CONSTRAINT uq_deletion_requests_tenant_id_id UNIQUE (tenant_id, id),
    CONSTRAINT fk_deletion_requests_tenant_id_parent_id FOREIGN KEY(tenant_id, parent_id) REFERENCES deletion_requests (tenant_id, id),
    CONSTRAINT fk_deletion_requests_tenant_id_dataset_id FOREIGN KEY(tenant_id, dataset_id) REFERENCES datasets (tenant_id, id),
    CONSTRAINT fk_deletion_requests_tenant_id_registered_model_id FOREIGN KEY(tenant_id, registered_model_id) REFERENCES registered_models (tenant_id, id),
    CONSTRAINT fk_deletion_requests_tenant_id_job_id FOREIGN KEY(tenant_id, job_id) REFERENCES jobs (tenant_id, id),
    CONSTRAINT fk_deletion_requests_tenant_id_api_key_id FOREIGN KEY(tenant_id, api_key_id) REFERENCES api_keys (tenant_id, id),
    CONSTRAINT fk_deletion_requests_tenant_id_registered_model_id_resu_8c99 FOREIGN KEY(tenant_id, registered_model_id, result_version_id) REFERENCES model_versions (tenant_id, registered_model_id, id),
    CONSTRAINT ck_deletion_requests_status CHECK (status IN ('queued', 'running', 'cancelling', 'succeeded', 'failed', 'cancelled', 'needs_review')),
    CONSTRAINT ck_deletion_requests_scope CHECK (scope IN ('full', 'partial')),
    CONSTRAINT ck_deletion_requests_status_of_the_children CHECK ((registered_model_id IS NULL) = (status IS NULL)),
    CONSTRAINT ck_deletion_requests_names_something CHECK (instance_count > 0 AND cardinality(tasks) > 0),
    CONSTRAINT fk_deletion_requests_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id)
)
;
CREATE INDEX ix_deletion_requests_unsettled ON deletion_requests (registered_model_id) WHERE status NOT IN ('succeeded', 'failed', 'cancelled')
;
CREATE INDEX ix_deletion_requests_job_id ON deletion_requests (job_id)
;
CREATE INDEX ix_deletion_requests_parent_id ON deletion_requests (parent_id) WHERE parent_id IS NOT NULL
;
CREATE INDEX ix_deletion_requests_tenant_id_id ON deletion_requests (tenant_id, id)
;
CREATE TABLE attempts (
    tenant_id UUID NOT NULL,
    job_id UUID NOT NULL,
    fence INTEGER NOT NULL,
    worker TEXT NOT NULL,
    device TEXT,
    finished_at TIMESTAMP WITH TIME ZONE,
    outcome TEXT,
    error_code TEXT,
    error_detail TEXT,
    id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_attempts PRIMARY KEY (id),
    CONSTRAINT uq_attempts_job_id_fence UNIQUE (job_id, fence),
    CONSTRAINT fk_attempts_tenant_id_job_id FOREIGN KEY(tenant_id, job_id) REFERENCES jobs (tenant_id, id)
)
;
CREATE TABLE outbox (
    id BIGSERIAL NOT NULL,
    tenant_id UUID NOT NULL,
    topic TEXT NOT NULL,
    job_id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    sent_at TIMESTAMP WITH TIME ZONE,
    failures INTEGER DEFAULT 0 NOT NULL,
    CONSTRAINT pk_outbox PRIMARY KEY (id),
    CONSTRAINT fk_outbox_tenant_id_job_id FOREIGN KEY(tenant_id, job_id) REFERENCES jobs (tenant_id, id)
)
;
CREATE INDEX ix_outbox_unsent ON outbox (id) WHERE sent_at IS NULL
;
CREATE TABLE deletion_request_items (
    deletion_request_id UUID NOT NULL,
    instance_hash BYTEA NOT NULL,
    tenant_id UUID NOT NULL,
    CONSTRAINT pk_deletion_request_items PRIMARY KEY (deletion_request_id, instance_hash),
    CONSTRAINT fk_deletion_request_items_tenant_id_deletion_request_id FOREIGN KEY(tenant_id, deletion_request_id) REFERENCES deletion_requests (tenant_id, id) ON DELETE CASCADE
)
;
CREATE TABLE forgotten_supervision (
    registered_model_id UUID NOT NULL,
    instance_hash BYTEA NOT NULL,
    task TEXT NOT NULL,
    tenant_id UUID NOT NULL,
    deletion_request_id UUID NOT NULL,
    version_id UUID,
    hash_key_id TEXT NOT NULL,
    forgotten_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_forgotten_supervision PRIMARY KEY (registered_model_id, instance_hash, task),
    CONSTRAINT fk_forgotten_supervision_tenant_id_registered_model_id FOREIGN KEY(tenant_id, registered_model_id) REFERENCES registered_models (tenant_id, id),
    CONSTRAINT fk_forgotten_supervision_tenant_id_deletion_request_id FOREIGN KEY(tenant_id, deletion_request_id) REFERENCES deletion_requests (tenant_id, id),
    CONSTRAINT fk_forgotten_supervision_tenant_id_registered_model_id__1659 FOREIGN KEY(tenant_id, registered_model_id, version_id) REFERENCES model_versions (tenant_id, registered_model_id, id)
)
;
CREATE INDEX ix_forgotten_supervision_deletion_request_id ON forgotten_supervision (deletion_request_id)
;
ALTER TABLE registered_models ADD CONSTRAINT fk_registered_models_head FOREIGN KEY(tenant_id, id, head_version_id) REFERENCES model_versions (tenant_id, registered_model_id, id)
;
ALTER TABLE model_versions ADD CONSTRAINT fk_model_versions_tenant_id_job_id FOREIGN KEY(tenant_id, job_id) REFERENCES jobs (tenant_id, id)
;
DO $$
DECLARE name text;
BEGIN
  -- Roles belong to the whole server: two databases of one server may be migrated at once.
  PERFORM pg_advisory_xact_lock(hashtext('lethe roles'));
  FOREACH name IN ARRAY ARRAY['lethe_app', 'lethe_worker'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
      BEGIN
        EXECUTE format('CREATE ROLE %I LOGIN', name);
      EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
      END;
    END IF;
  END LOOP;
END $$
;
CREATE FUNCTION enforce_transition() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  old_state text := to_jsonb(OLD) ->> TG_ARGV[0];
  new_state text := to_jsonb(NEW) ->> TG_ARGV[0];
BEGIN
  IF old_state IS DISTINCT FROM new_state AND NOT EXISTS (
    SELECT FROM state_transitions t
    WHERE t.machine = TG_TABLE_NAME
      AND t.before = old_state AND t.after = new_state
  ) THEN
    RAISE EXCEPTION '% cannot go from % to %', TG_TABLE_NAME, old_state, new_state
      USING ERRCODE = 'check_violation', CONSTRAINT = 'enforce_transition';
  END IF;
  RETURN NEW;
END $$
;
CREATE FUNCTION notify_outbox() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('lethe_outbox', '');
  RETURN NULL;
END $$
;
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'rows of % are never changed or removed', TG_TABLE_NAME
    USING ERRCODE = 'insufficient_privilege';
END $$
;
INSERT INTO state_transitions VALUES ('datasets', 'validating', 'ready')
;
INSERT INTO state_transitions VALUES ('datasets', 'validating', 'rejected')
;
INSERT INTO state_transitions VALUES ('datasets', 'rejected', 'validating')
;
CREATE TRIGGER enforce_transition BEFORE UPDATE OF status ON datasets FOR EACH ROW EXECUTE FUNCTION enforce_transition('status')
;
INSERT INTO state_transitions VALUES ('registered_models', 'awaiting_checkpoint', 'validating')
;
INSERT INTO state_transitions VALUES ('registered_models', 'validating', 'ready')
;
INSERT INTO state_transitions VALUES ('registered_models', 'validating', 'rejected')
;
INSERT INTO state_transitions VALUES ('registered_models', 'rejected', 'validating')
;
CREATE TRIGGER enforce_transition BEFORE UPDATE OF status ON registered_models FOR EACH ROW EXECUTE FUNCTION enforce_transition('status')
;
INSERT INTO state_transitions VALUES ('model_versions', 'pending', 'published')
;
INSERT INTO state_transitions VALUES ('model_versions', 'pending', 'rejected')
;
INSERT INTO state_transitions VALUES ('model_versions', 'rejected', 'pending')
;
INSERT INTO state_transitions VALUES ('model_versions', 'published', 'superseded')
;
INSERT INTO state_transitions VALUES ('model_versions', 'superseded', 'published')
;
INSERT INTO state_transitions VALUES ('model_versions', 'superseded', 'quarantined')
;
INSERT INTO state_transitions VALUES ('model_versions', 'quarantined', 'deleted')
;
INSERT INTO state_transitions VALUES ('model_versions', 'quarantined', 'superseded')
;
CREATE TRIGGER enforce_transition BEFORE UPDATE OF state ON model_versions FOR EACH ROW EXECUTE FUNCTION enforce_transition('state')
;
INSERT INTO state_transitions VALUES ('deletion_requests', 'queued', 'cancelled')
;
INSERT INTO state_transitions VALUES ('deletion_requests', 'queued', 'failed')
;
INSERT INTO state_transitions VALUES ('deletion_requests', 'queued', 'running')
;
INSERT INTO state_transitions VALUES ('deletion_requests', 'running', 'cancelled')
;
INSERT INTO state_transitions VALUES ('deletion_requests', 'running', 'cancelling')
;
INSERT INTO state_transitions VALUES ('deletion_requests', 'running', 'failed')
;
INSERT INTO state_transitions VALUES ('deletion_requests', 'running', 'needs_review')
;
INSERT INTO state_transitions VALUES ('deletion_requests', 'running', 'queued')
;
INSERT INTO state_transitions VALUES ('deletion_requests', 'running', 'succeeded')
;
INSERT INTO state_transitions VALUES ('deletion_requests', 'cancelling', 'cancelled')
;
INSERT INTO state_transitions VALUES ('deletion_requests', 'cancelling', 'failed')
;
INSERT INTO state_transitions VALUES ('deletion_requests', 'needs_review', 'cancelled')
;
INSERT INTO state_transitions VALUES ('deletion_requests', 'needs_review', 'failed')
;
INSERT INTO state_transitions VALUES ('deletion_requests', 'needs_review', 'queued')
;
INSERT INTO state_transitions VALUES ('deletion_requests', 'failed', 'queued')
;
INSERT INTO state_transitions VALUES ('deletion_requests', 'succeeded', 'queued')
;
CREATE TRIGGER enforce_transition BEFORE UPDATE OF status ON deletion_requests FOR EACH ROW EXECUTE FUNCTION enforce_transition('status')
;
INSERT INTO state_transitions VALUES ('jobs', 'queued', 'cancelled')
;
INSERT INTO state_transitions VALUES ('jobs', 'queued', 'failed')
;
INSERT INTO state_transitions VALUES ('jobs', 'queued', 'running')
;
INSERT INTO state_transitions VALUES ('jobs', 'running', 'cancelling')
;
INSERT INTO state_transitions VALUES ('jobs', 'running', 'failed')
;
INSERT INTO state_transitions VALUES ('jobs', 'running', 'needs_review')
;
INSERT INTO state_transitions VALUES ('jobs', 'running', 'queued')
;
INSERT INTO state_transitions VALUES ('jobs', 'running', 'succeeded')
;
INSERT INTO state_transitions VALUES ('jobs', 'cancelling', 'cancelled')
;
INSERT INTO state_transitions VALUES ('jobs', 'cancelling', 'failed')
;
INSERT INTO state_transitions VALUES ('jobs', 'needs_review', 'cancelled')
;
INSERT INTO state_transitions VALUES ('jobs', 'needs_review', 'failed')
;
INSERT INTO state_transitions VALUES ('jobs', 'needs_review', 'queued')
;
CREATE TRIGGER enforce_transition BEFORE UPDATE OF status ON jobs FOR EACH ROW EXECUTE FUNCTION enforce_transition('status')
;
INSERT INTO state_transitions VALUES ('artifacts', 'pending', 'deleted')
;
INSERT INTO state_transitions VALUES ('artifacts', 'pending', 'stored')
;
INSERT INTO state_transitions VALUES ('artifacts', 'stored', 'deleted')
;
CREATE TRIGGER enforce_transition BEFORE UPDATE OF state ON artifacts FOR EACH ROW EXECUTE FUNCTION enforce_transition('state')
;
CREATE TRIGGER notify_outbox AFTER INSERT ON outbox FOR EACH STATEMENT EXECUTE FUNCTION notify_outbox()
;
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON audit_log FOR EACH ROW EXECUTE FUNCTION refuse_change()
;
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON events FOR EACH ROW EXECUTE FUNCTION refuse_change()
;
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON audit_log FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
;
GRANT USAGE ON SCHEMA public TO lethe_app, lethe_worker
;
GRANT SELECT, INSERT, UPDATE ON tenants TO lethe_app
;
GRANT SELECT, UPDATE ON tenants TO lethe_worker
;
GRANT SELECT, INSERT, UPDATE ON api_keys TO lethe_app
;
GRANT SELECT, INSERT, UPDATE ON artifacts TO lethe_app
;
GRANT SELECT, INSERT, UPDATE ON artifacts TO lethe_worker
;
GRANT SELECT, INSERT, UPDATE ON datasets TO lethe_app
;
GRANT SELECT, UPDATE ON datasets TO lethe_worker
;
GRANT SELECT ON dataset_instances TO lethe_app
;
GRANT SELECT, INSERT, DELETE ON dataset_instances TO lethe_worker
;
GRANT SELECT, INSERT, UPDATE ON registered_models TO lethe_app
;
GRANT SELECT, UPDATE ON registered_models TO lethe_worker
;
GRANT SELECT, INSERT, UPDATE ON model_tasks TO lethe_app
;
GRANT SELECT, UPDATE ON model_tasks TO lethe_worker
;
GRANT SELECT, INSERT, UPDATE ON model_versions TO lethe_app
;
GRANT SELECT, INSERT, UPDATE ON model_versions TO lethe_worker
;
GRANT SELECT, INSERT, UPDATE ON aliases TO lethe_app
;
GRANT SELECT, INSERT, UPDATE ON aliases TO lethe_worker
;
GRANT SELECT, INSERT, DELETE ON instance_lists TO lethe_app
;
GRANT SELECT, INSERT, DELETE ON instance_list_items TO lethe_app
;
GRANT SELECT, INSERT, UPDATE ON deletion_requests TO lethe_app
;
GRANT SELECT, UPDATE ON deletion_requests TO lethe_worker
;
GRANT SELECT, INSERT ON deletion_request_items TO lethe_app
;
GRANT SELECT ON deletion_request_items TO lethe_worker
;
GRANT SELECT, UPDATE ON forgotten_supervision TO lethe_app
;
GRANT SELECT, INSERT, UPDATE ON forgotten_supervision TO lethe_worker
;
GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency_keys TO lethe_app
;
GRANT SELECT, INSERT ON events TO lethe_app
;
GRANT SELECT, INSERT ON events TO lethe_worker
;
GRANT SELECT, INSERT, UPDATE ON jobs TO lethe_app
;
GRANT SELECT, INSERT, UPDATE ON jobs TO lethe_worker
;
GRANT SELECT, INSERT, UPDATE ON attempts TO lethe_app
;
GRANT SELECT, INSERT, UPDATE ON attempts TO lethe_worker
;
GRANT SELECT, INSERT, UPDATE, DELETE ON outbox TO lethe_app
;
GRANT SELECT, INSERT ON outbox TO lethe_worker
;
GRANT SELECT, INSERT ON audit_log TO lethe_app
;
GRANT SELECT, INSERT ON audit_log TO lethe_worker
;
GRANT SELECT ON state_transitions TO lethe_app
;
GRANT SELECT ON state_transitions TO lethe_worker
;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO lethe_app, lethe_worker
