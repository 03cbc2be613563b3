"""Which URLs a tenant may name."""

from pathlib import Path

import pytest

from app.core.errors import InvalidInput
from app.core.roots import allowed_url


def test_below_a_root(tmp_path: Path) -> None:
    assert allowed_url(f"file://{tmp_path}/a/b.npz", [f"file://{tmp_path}"]) == f"file://{tmp_path}/a/b.npz"
    assert allowed_url("s3://Bucket/team/x.npz", ["s3://bucket/team/"]) == "s3://bucket/team/x.npz"


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "file://{root}/../outside.npz",
        "file://{root}-sibling/x.npz",
        "file://{root}/%2e%2e/outside.npz",
        "s3://other-bucket/team/x.npz",
        "s3://bucket/team-b/x.npz",
        "s3://bucket/team/../team-b/x.npz",
        "http://169.254.169.254/latest",
        "s3://user:secret@bucket/team/x",
        "file://{root}/x.npz?versionId=1",
        "file://{root}/x\0.npz",
        "s3:///team/x",
        "relative/path.npz",
        "",
        "file://[root/x.npz",
        "s3://a\u2100b/x.npz",
        "file://{root}/%252e%252e/outside.npz",
        "file://{root}/x%3fy.npz",
        "file://{root}/x%23y.npz",
        "file://{root}/x%0a.npz",
        "file://{root}/circle/x.npz",
        "file://{root}/" + "x" * 300,
        "s3://bucket/team/%252e%252e/team-b/x.npz",
    ],
)
def test_outside_every_root(tmp_path: Path, url: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "circle").symlink_to(root / "circle")
    with pytest.raises(InvalidInput):
        allowed_url(url.replace("{root}", str(root)), [f"file://{root}", "s3://bucket/team"])


def test_a_link_out_of_the_root_is_followed_before_it_is_judged(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "link").symlink_to(outside)
    with pytest.raises(InvalidInput):
        allowed_url(f"file://{root}/link/data.npz", [f"file://{root}"])


def test_no_roots_says_whom_to_ask() -> None:
    with pytest.raises(InvalidInput, match="ask the operator"):
        allowed_url("file:///data/x.npz", [])
