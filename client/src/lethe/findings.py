"""What a check has shown, and what it has not."""

from dataclasses import dataclass, field


class NotVerified(Exception):
    """The file is not what was signed; the sentence says what is wrong with it."""


@dataclass
class Findings:
    """Sentences for a person. Nothing is a finding before its check has passed. `stated`: what is proven to
    be stated, and nothing more."""

    title: str
    proven: list[str] = field(default_factory=list)
    stated: list[str] = field(default_factory=list)
    not_proven: list[str] = field(default_factory=list)

    def text(self) -> str:
        parts = {
            "Proven:": ("+", self.proven),
            "Stated by the service, under that signature, and not checked here:": ("=", self.stated),
            "NOT proven:": ("-", self.not_proven),
        }
        lines = [self.title]
        for heading, (sign, sentences) in parts.items():
            if sentences:
                lines += ["", heading, *(f"  {sign} {sentence}" for sentence in sentences)]
        return "\n".join(lines)
