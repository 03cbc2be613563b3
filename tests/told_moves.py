"""In every test's database: what the service moves without saying so cannot be committed.

Whoever follows a request, a job or a version, and every webhook, learns of its states from `events`. So each
transaction of the API, the relay or a worker that makes one or moves it must have written the event of the
state in which it leaves it. And every event is one that a webhook can be told of by name. What tests write
themselves, as the owner, is not looked at.
"""

from collections.abc import Iterator

from app.webhooks.event_types import EVENT_TYPES

# Table → what its events are called after, its state's column, and what else is told of when it changes.
FOLLOWED = {
    "deletion_requests": ("request", "status", "job_id"),
    "jobs": ("job", "status", "status"),
    "model_versions": ("version", "state", "state"),
}

_SERVICE = "('lethe_app', 'lethe_relay', 'lethe_worker')"
# `now()` is when the transaction began, which is what `created_at` is of the events that it wrote.
_FUNCTION = f"""
CREATE FUNCTION refuse_untold_move() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE left_as text; place text;
BEGIN
  IF session_user NOT IN {_SERVICE} THEN
    RETURN NULL;
  END IF;
  EXECUTE format('SELECT %I, %I FROM public.%I WHERE id = $1', TG_ARGV[1], TG_ARGV[2], TG_TABLE_NAME)
    INTO left_as, place USING NEW.id;
  -- A request on a data set has no status of its own: it is summed up from its children's. One that is queued
  -- is told of when it has its place in a job.
  IF (left_as <> 'queued' OR place IS NOT NULL) AND NOT EXISTS (
    SELECT FROM public.events WHERE subject_id = NEW.id AND type = TG_ARGV[0] || '.' || left_as
      AND created_at = now()
  ) THEN
    RAISE EXCEPTION 'nobody is told that % % is %', TG_TABLE_NAME, NEW.id, left_as;
  END IF;
  RETURN NULL;
END $$
"""
_UNKNOWN_EVENT = """
CREATE FUNCTION refuse_unknown_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'no webhook can be told of % by its name', NEW.type;
END $$
"""


def tell_of_every_move() -> Iterator[str]:
    """Statements for a migrated database."""
    yield _UNKNOWN_EVENT
    known = ", ".join(f"'{name}'" for name in (*EVENT_TYPES, "webhook.ping"))
    yield (
        "CREATE TRIGGER refuse_unknown_event AFTER INSERT ON events FOR EACH ROW"
        f" WHEN (session_user IN {_SERVICE} AND NEW.type NOT IN ({known}))"
        " EXECUTE FUNCTION refuse_unknown_event()"
    )
    yield _FUNCTION
    for table, (subject, state, place) in FOLLOWED.items():
        moved = f"OLD.{state} IS DISTINCT FROM NEW.{state} OR OLD.{place} IS DISTINCT FROM NEW.{place}"
        for name, when, only in (("made", "INSERT", ""), ("moved", "UPDATE", f"WHEN ({moved})")):
            yield (
                f"CREATE CONSTRAINT TRIGGER tell_that_it_was_{name} AFTER {when} ON {table}"
                f" DEFERRABLE INITIALLY DEFERRED FOR EACH ROW {only}"
                f" EXECUTE FUNCTION refuse_untold_move('{subject}', '{state}', '{place}')"
            )
