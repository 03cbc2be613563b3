CREATE TABLE signing_keys (
    key_id TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    public_key TEXT NOT NULL,
    first_used_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_signing_keys PRIMARY KEY (key_id)
)
;
CREATE TABLE audit_unsealed (
    entry_id BIGINT NOT NULL,
    CONSTRAINT pk_audit_unsealed PRIMARY KEY (entry_id)
)
;
CREATE TABLE audit_seals (
    tenant_id UUID NOT NULL,
    position BIGINT NOT NULL,
    entry_id BIGINT NOT NULL,
    previous BYTEA NOT NULL,
    hash BYTEA NOT NULL,
    sealed_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT pk_audit_seals PRIMARY KEY (tenant_id, position),
    CONSTRAINT ck_audit_seals_position CHECK (position > 0),
    CONSTRAINT ck_audit_seals_hashes CHECK (octet_length(hash) = 32 AND octet_length(previous) = 32),
    CONSTRAINT fk_audit_seals_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id),
    CONSTRAINT uq_audit_seals_entry_id UNIQUE (entry_id),
    CONSTRAINT fk_audit_seals_entry_id FOREIGN KEY(entry_id) REFERENCES audit_log (id)
)
;
CREATE TABLE audit_checkpoints (
    tenant_id UUID NOT NULL,
    position BIGINT NOT NULL,
    envelope TEXT NOT NULL,
    key_id TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_audit_checkpoints PRIMARY KEY (tenant_id, position),
    CONSTRAINT fk_audit_checkpoints_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id),
    CONSTRAINT fk_audit_checkpoints_key_id FOREIGN KEY(key_id) REFERENCES signing_keys (key_id)
)
;
CREATE TABLE certificates (
    tenant_id UUID NOT NULL,
    deletion_request_id UUID NOT NULL,
    registered_model_id UUID NOT NULL,
    version_id UUID NOT NULL,
    kind TEXT NOT NULL,
    envelope TEXT NOT NULL,
    key_id TEXT NOT NULL,
    id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_certificates PRIMARY KEY (id),
    CONSTRAINT uq_certificates_deletion_request_id_kind_version_id UNIQUE (deletion_request_id, kind, version_id),
    CONSTRAINT fk_certificates_tenant_id_deletion_request_id FOREIGN KEY(tenant_id, deletion_request_id) REFERENCES deletion_requests (tenant_id, id),
    CONSTRAINT fk_certificates_tenant_id_registered_model_id_version_id FOREIGN KEY(tenant_id, registered_model_id, version_id) REFERENCES model_versions (tenant_id, registered_model_id, id),
    CONSTRAINT ck_certificates_kind CHECK (kind IN ('unlearning', 'disposal')),
    CONSTRAINT fk_certificates_key_id FOREIGN KEY(key_id) REFERENCES signing_keys (key_id)
)
;
ALTER TABLE deletion_requests ADD COLUMN certified_version_id UUID
;
ALTER TABLE deletion_requests ADD COLUMN acknowledge_by TIMESTAMP WITH TIME ZONE
;
ALTER TABLE deletion_requests ADD COLUMN acknowledged_at TIMESTAMP WITH TIME ZONE
;
ALTER TABLE deletion_requests ADD COLUMN extension JSONB
;
ALTER TABLE deletion_requests ADD COLUMN alarms TEXT[] DEFAULT '{}' NOT NULL
;
CREATE FUNCTION note_unsealed() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO public.audit_unsealed (entry_id) SELECT id FROM written;
  RETURN NULL;
END $$
;
REVOKE EXECUTE ON FUNCTION note_unsealed() FROM PUBLIC
;
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON audit_seals FOR EACH ROW EXECUTE FUNCTION refuse_change()
;
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON audit_seals FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
;
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON audit_checkpoints FOR EACH ROW EXECUTE FUNCTION refuse_change()
;
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON audit_checkpoints FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
;
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON signing_keys FOR EACH ROW EXECUTE FUNCTION refuse_change()
;
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON signing_keys FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
;
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON certificates FOR EACH ROW EXECUTE FUNCTION refuse_change()
;
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON certificates FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
;
CREATE TRIGGER note_unsealed AFTER INSERT ON audit_log REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION note_unsealed()
;
GRANT SELECT, DELETE ON audit_unsealed TO lethe_app
;
GRANT SELECT, INSERT ON audit_seals TO lethe_app
;
GRANT SELECT, INSERT ON audit_checkpoints TO lethe_app
;
GRANT SELECT, INSERT ON signing_keys TO lethe_app
;
GRANT SELECT, INSERT ON certificates TO lethe_app
