ALTER TABLE artifacts ADD COLUMN key_store text
;
ALTER TABLE model_versions ADD COLUMN state_since timestamp with time zone DEFAULT now() NOT NULL
;
ALTER TABLE datasets ADD COLUMN refreshes_id uuid,
  ADD CONSTRAINT fk_datasets_tenant_id_refreshes_id FOREIGN KEY (tenant_id, refreshes_id)
    REFERENCES datasets (tenant_id, id)
;
ALTER TABLE registered_models ADD COLUMN derived_from_version_id uuid,
  ADD COLUMN fanned_out_at timestamp with time zone,
  ADD CONSTRAINT fk_registered_models_derived_from FOREIGN KEY (tenant_id, derived_from_version_id)
    REFERENCES model_versions (tenant_id, id),
  DROP CONSTRAINT ck_registered_models_status,
  ADD CONSTRAINT ck_registered_models_status
    CHECK (status IN ('awaiting_checkpoint', 'validating', 'ready', 'rejected', 'destroyed'))
;
CREATE INDEX ix_registered_models_derived_from ON registered_models (derived_from_version_id)
  WHERE derived_from_version_id IS NOT NULL
;
UPDATE registered_models SET fanned_out_at = now() WHERE status = 'ready'
;
CREATE UNIQUE INDEX uq_deletion_requests_one_child_per_model
  ON deletion_requests (parent_id, registered_model_id) WHERE parent_id IS NOT NULL
;
CREATE INDEX ix_deletion_requests_on_datasets ON deletion_requests (dataset_id)
  WHERE registered_model_id IS NULL
;
CREATE TABLE former_datasets (
  registered_model_id uuid NOT NULL,
  dataset_id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  left_at timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT pk_former_datasets PRIMARY KEY (registered_model_id, dataset_id),
  CONSTRAINT fk_former_datasets_tenant_id_registered_model_id FOREIGN KEY (tenant_id, registered_model_id)
    REFERENCES registered_models (tenant_id, id),
  CONSTRAINT fk_former_datasets_tenant_id_dataset_id FOREIGN KEY (tenant_id, dataset_id)
    REFERENCES datasets (tenant_id, id)
)
;
CREATE INDEX ix_former_datasets_dataset_id ON former_datasets (dataset_id)
;
CREATE TABLE legal_holds (
  tenant_id uuid NOT NULL,
  registered_model_id uuid NOT NULL,
  version_id uuid,
  reason text NOT NULL,
  placed_by text NOT NULL,
  lifted_at timestamp with time zone,
  lifted_by text,
  lift_reason text,
  id uuid NOT NULL,
  created_at timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT pk_legal_holds PRIMARY KEY (id),
  CONSTRAINT fk_legal_holds_tenant_id_registered_model_id FOREIGN KEY (tenant_id, registered_model_id)
    REFERENCES registered_models (tenant_id, id),
  CONSTRAINT fk_legal_holds_tenant_id_registered_model_id_version_id
    FOREIGN KEY (tenant_id, registered_model_id, version_id)
    REFERENCES model_versions (tenant_id, registered_model_id, id),
  CONSTRAINT ck_legal_holds_lifted_by_somebody CHECK ((lifted_at IS NULL) = (lifted_by IS NULL))
)
;
CREATE INDEX ix_legal_holds_registered_model_id ON legal_holds (registered_model_id)
;
CREATE UNIQUE INDEX uq_legal_holds_in_force
  ON legal_holds (registered_model_id, coalesce(version_id, registered_model_id)) WHERE lifted_at IS NULL
;
GRANT SELECT, INSERT ON former_datasets TO lethe_app
;
GRANT SELECT ON former_datasets TO lethe_worker
;
GRANT SELECT, INSERT, UPDATE ON legal_holds TO lethe_app
;
CREATE FUNCTION note_state_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.state IS DISTINCT FROM NEW.state THEN
    NEW.state_since := now();
  END IF;
  RETURN NEW;
END $$
;
CREATE TRIGGER note_state_change BEFORE UPDATE OF state ON model_versions
  FOR EACH ROW EXECUTE FUNCTION note_state_change()
