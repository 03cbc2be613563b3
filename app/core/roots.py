"""Which URLs a tenant may name: only those below the roots that the operator listed for it."""

import errno
from pathlib import Path
from urllib.parse import unquote, urlsplit

from app.core.errors import InvalidInput

OBJECT_STORES = ("s3", "gs", "az", "abfs")


def allowed_url(url: str, roots: list[str]) -> str:
    """`url` in its canonical form.

    Local paths are resolved, links included, before they are compared; object URLs are compared by
    bucket and by whole path segments.

    Raises `InvalidInput`, code url_not_allowed or url_invalid.
    """
    canonical = canonical_url(url)
    if any(_below(canonical, canonical_url(root)) for root in roots):
        return canonical
    listed = ", ".join(roots) if roots else "none: ask the operator to list one"
    raise InvalidInput(
        f"The URL does not lie under one of this tenant's allowed roots ({listed}).", code="url_not_allowed"
    )


def canonical_url(url: str) -> str:
    """The form that is stored and read again by whoever fetches: reading it changes it no further.

    Raises `InvalidInput`, code url_invalid.
    """
    try:
        canonical = _canonical(url)
        stable = _canonical(canonical) == canonical
    except (ValueError, OSError, RuntimeError) as error:  # brackets; a path too long; links in a circle
        raise InvalidInput("The URL cannot be read as one.", code="url_invalid") from error
    if not stable:
        raise InvalidInput(
            "The URL's path must not contain encoded '%', '?', '#' or control characters.",
            code="url_invalid",
        )
    return canonical


def _canonical(url: str) -> str:
    parts = urlsplit(url if "://" in url else f"file://{url}")
    path = unquote(parts.path)
    if "\0" in path or parts.query or parts.fragment or parts.username or parts.password:
        raise InvalidInput(
            "A URL here has a scheme, a bucket or none, and a path; nothing else.", code="url_invalid"
        )
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost") or not path.startswith("/"):
            raise InvalidInput("A local URL looks like file:///folder/file.", code="url_invalid")
        resolved = Path(path).resolve()
        _refuse_too_long(resolved)
        return f"file://{resolved}"
    if parts.scheme not in OBJECT_STORES or not parts.netloc:
        known = ", ".join(("file", *OBJECT_STORES))
        raise InvalidInput(f"The URL's scheme must be one of {known}.", code="url_invalid")
    segments = [segment for segment in path.split("/") if segment]
    if any(segment in (".", "..") for segment in segments):
        raise InvalidInput("The URL's path must not contain '.' or '..'.", code="url_invalid")
    return f"{parts.scheme}://{parts.netloc.lower()}/{'/'.join(segments)}"


def _refuse_too_long(path: Path) -> None:
    """No file system of ours takes such a path, so that nothing can lie there. Raises `OSError`."""
    try:
        path.lstat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise


def _below(url: str, root: str) -> bool:
    return url == root or url.startswith(root.rstrip("/") + "/")
