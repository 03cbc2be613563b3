"""The methods a deletion request may name."""

from worker.engine.baselines.bad_teacher import BadTeacher
from worker.engine.baselines.fine_tune import FineTune
from worker.engine.baselines.gdr_gma import GdrGma
from worker.engine.baselines.gradient_ascent import GradientAscent
from worker.engine.baselines.l1_sparse import L1Sparse
from worker.engine.baselines.munba import Munba
from worker.engine.baselines.negative_gradient_plus import NegativeGradientPlus
from worker.engine.baselines.orthograd import Orthograd
from worker.engine.baselines.pgu import Pgu
from worker.engine.baselines.random_label import RandomLabel
from worker.engine.baselines.retrain import Retrain
from worker.engine.baselines.salun import SalUn
from worker.engine.baselines.scrub import Scrub
from worker.engine.baselines.sfron import Sfron
from worker.engine.baselines.ssd import Ssd
from worker.engine.contract import Method
from worker.engine.interference_aware import InterferenceAware
from worker.engine.projected_ascent import ProjectedAscent

METHODS: dict[str, Method] = {
    "interference_aware": InterferenceAware(),
    "retrain": Retrain(),
    # Published methods, to compare with: docs/baselines.md.
    "bad_teacher": BadTeacher(),
    "fine_tune": FineTune(),
    "gdr_gma": GdrGma(),
    "gradient_ascent": GradientAscent(),
    "l1_sparse": L1Sparse(),
    "munba": Munba(),
    "negative_gradient_plus": NegativeGradientPlus(),
    "orthograd": Orthograd(),
    "pgu": Pgu(),
    "projected_ascent": ProjectedAscent(),
    "random_label": RandomLabel(),
    "salun": SalUn(),
    "scrub": Scrub(),
    "sfron": Sfron(),
    "ssd": Ssd(),
}
