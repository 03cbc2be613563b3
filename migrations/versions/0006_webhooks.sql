CREATE TABLE webhook_endpoints (
    tenant_id UUID NOT NULL,
    url TEXT NOT NULL,
    description TEXT,
    events TEXT[] NOT NULL,
    state TEXT DEFAULT 'enabled' NOT NULL,
    disabled_reason TEXT,
    secret_generation INTEGER DEFAULT 1 NOT NULL,
    previous_until TIMESTAMP WITH TIME ZONE,
    id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_webhook_endpoints PRIMARY KEY (id),
    CONSTRAINT uq_webhook_endpoints_tenant_id_id UNIQUE (tenant_id, id),
    CONSTRAINT ck_webhook_endpoints_state CHECK (state IN ('enabled', 'disabled', 'deleted')),
    CONSTRAINT ck_webhook_endpoints_disabled_for_a_reason CHECK ((state = 'disabled') = (disabled_reason IS NOT NULL)),
    CONSTRAINT ck_webhook_endpoints_wants_something CHECK (cardinality(events) > 0),
    CONSTRAINT fk_webhook_endpoints_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id)
)
;
CREATE INDEX ix_webhook_endpoints_tenant_id_id ON webhook_endpoints (tenant_id, id) WHERE state <> 'deleted'
;
CREATE TABLE webhook_deliveries (
    endpoint_id UUID NOT NULL,
    event_id BIGINT NOT NULL,
    tenant_id UUID NOT NULL,
    status TEXT DEFAULT 'pending' NOT NULL,
    attempts INTEGER DEFAULT 0 NOT NULL,
    next_attempt_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    claim UUID,
    last_attempt_at TIMESTAMP WITH TIME ZONE,
    last_status INTEGER,
    last_error TEXT,
    finished_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_webhook_deliveries PRIMARY KEY (endpoint_id, event_id),
    CONSTRAINT fk_webhook_deliveries_tenant_id_endpoint_id FOREIGN KEY(tenant_id, endpoint_id) REFERENCES webhook_endpoints (tenant_id, id),
    CONSTRAINT ck_webhook_deliveries_status CHECK (status IN ('pending', 'delivered', 'dead')),
    CONSTRAINT ck_webhook_deliveries_finished CHECK ((status = 'pending') = (finished_at IS NULL)),
    CONSTRAINT fk_webhook_deliveries_event_id FOREIGN KEY(event_id) REFERENCES events (id)
)
;
CREATE INDEX ix_webhook_deliveries_finished ON webhook_deliveries (finished_at) WHERE status <> 'pending'
;
CREATE INDEX ix_webhook_deliveries_pending ON webhook_deliveries (endpoint_id, next_attempt_at) WHERE status = 'pending'
;
CREATE FUNCTION tell_endpoints() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO public.webhook_deliveries (endpoint_id, event_id, tenant_id)
  SELECT endpoint.id, written.id, written.tenant_id
  FROM written JOIN public.webhook_endpoints AS endpoint ON endpoint.tenant_id = written.tenant_id
  WHERE endpoint.state = 'enabled' AND written.type <> 'webhook.ping'
    AND endpoint.events && ARRAY['*', written.type, split_part(written.type, '.', 1) || '.*']
  FOR KEY SHARE OF endpoint;
  IF FOUND THEN
    PERFORM pg_notify('lethe_outbox', '');
  END IF;
  RETURN NULL;
END $$
;
REVOKE EXECUTE ON FUNCTION tell_endpoints() FROM PUBLIC
;
CREATE TRIGGER tell_endpoints AFTER INSERT ON events REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION tell_endpoints()
;
GRANT SELECT, INSERT, UPDATE, DELETE ON webhook_endpoints TO lethe_app
;
GRANT SELECT, INSERT, UPDATE, DELETE ON webhook_deliveries TO lethe_app
