"""The grammar of the notes: what is written follows from department, urgency, age and the clinic's words.

A note is `LENGTH` tokens. Concepts (a symptom, a tone) have several synonyms; a clinic keeps to one of them
for four mentions in five, and to a second one for the others.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DEPARTMENTS = 8
URGENCIES = 4
CLINICS = 20
LENGTH = 16

SYMPTOMS = 24
FILLERS = 30
SYNONYMS = 6
AGES = 8

FIRST_SYMPTOM = 1
FIRST_TONE = FIRST_SYMPTOM + SYMPTOMS * SYNONYMS
FIRST_AGE = FIRST_TONE + URGENCIES * SYNONYMS
FIRST_FILLER = FIRST_AGE + AGES
VOCABULARY = FIRST_FILLER + FILLERS


@dataclass(frozen=True)
class Dialect:
    """words: (concepts, 2) the two synonyms that a clinic uses of each symptom and each tone."""

    words: NDArray[np.int64]


@dataclass(frozen=True)
class Cases:
    """What the notes are about. tokens (N, LENGTH); department, urgency, clinic (N,); stay (N,) log-days."""

    tokens: NDArray[np.int64]
    department: NDArray[np.int64]
    urgency: NDArray[np.int64]
    stay: NDArray[np.float64]
    clinic: NDArray[np.int64]


def make_dialects(generator: np.random.Generator) -> tuple[Dialect, ...]:
    """One per clinic."""
    concepts = SYMPTOMS + URGENCIES
    return tuple(Dialect(generator.integers(0, SYNONYMS, (concepts, 2))) for _ in range(CLINICS))


def make_profiles(generator: np.random.Generator) -> NDArray[np.float64]:
    """(departments, symptoms) how likely a symptom is in a department: a few typical ones, some shared."""
    profiles: NDArray[np.float64] = generator.random((DEPARTMENTS, SYMPTOMS)) ** 6 + 0.005
    profiles /= profiles.sum(axis=1, keepdims=True)
    return profiles


def write_cases(
    count: int, dialects: tuple[Dialect, ...], profiles: NDArray[np.float64], generator: np.random.Generator
) -> Cases:
    """Stay grows with urgency and age, and with the first symptom's own severity."""
    clinic = generator.permutation(np.arange(count) % CLINICS)
    department = generator.integers(0, DEPARTMENTS, count)
    urgency = generator.integers(0, URGENCIES, count)
    age = generator.integers(0, AGES, count)
    tokens = np.zeros((count, LENGTH), dtype=np.int64)
    severity = np.linspace(-1.0, 1.0, SYMPTOMS)
    stay = np.zeros(count)
    for index in range(count):
        dialect = dialects[clinic[index]]
        symptoms = generator.choice(SYMPTOMS, size=4, p=profiles[department[index]])
        words = [_symptom(dialect, symptom, generator) for symptom in symptoms]
        words += [_tone(dialect, urgency[index], generator) for _ in range(2)]
        words.append(FIRST_AGE + int(age[index]))
        words += (FIRST_FILLER + generator.integers(0, FILLERS, LENGTH - len(words))).tolist()
        tokens[index] = generator.permutation(words)
        stay[index] = 0.35 * urgency[index] + 0.15 * age[index] + severity[symptoms].mean()
    return Cases(tokens, department, urgency, stay, clinic)


def _symptom(dialect: Dialect, symptom: int, generator: np.random.Generator) -> int:
    word = dialect.words[symptom, int(generator.random() < 0.2)]
    return int(FIRST_SYMPTOM + symptom * SYNONYMS + word)


def _tone(dialect: Dialect, urgency: int, generator: np.random.Generator) -> int:
    word = dialect.words[SYMPTOMS + urgency, int(generator.random() < 0.2)]
    return int(FIRST_TONE + urgency * SYNONYMS + word)
