"""Every baseline with settings that suit the bank's small network, and what is to be expected of each."""

from dataclasses import dataclass

from worker.engine.baselines.bad_teacher import BadTeacher, BadTeacherSettings
from worker.engine.baselines.fine_tune import FineTune, FineTuneSettings
from worker.engine.baselines.gdr_gma import GdrGma, GdrGmaSettings
from worker.engine.baselines.gradient_ascent import GradientAscent, GradientAscentSettings
from worker.engine.baselines.l1_sparse import L1Sparse, L1SparseSettings
from worker.engine.baselines.munba import Munba, MunbaSettings
from worker.engine.baselines.negative_gradient_plus import NegativeGradientPlus, NegativeGradientPlusSettings
from worker.engine.baselines.orthograd import Orthograd, OrthogradSettings
from worker.engine.baselines.pace import Pace
from worker.engine.baselines.pgu import Pgu, PguSettings
from worker.engine.baselines.random_label import RandomLabel, RandomLabelSettings
from worker.engine.baselines.salun import SalUn, SalUnSettings
from worker.engine.baselines.scrub import Scrub, ScrubSettings
from worker.engine.baselines.sfron import Sfron, SfronSettings
from worker.engine.baselines.ssd import Ssd, SsdSettings
from worker.engine.calibration import CalibrationSettings
from worker.engine.contract import Method
from worker.engine.interference_aware import InterferenceAware
from worker.engine.projected_ascent import ProjectedAscent, ProjectedAscentSettings


@dataclass(frozen=True)
class Expected:
    """way: least share of the way from the original's forget loss to its held-out loss, over named tasks.

    floor: least metric on retained supervision, in points, on average over tasks.
    weakest: the same as `way` of the task that forgets least, where all are named and it is less than `way`.
    """

    method: Method
    way: float
    floor: float
    weakest: float | None = None


BASELINES: dict[str, Expected] = {
    expected.method.name: expected
    for expected in (
        Expected(FineTune(settings=FineTuneSettings(Pace(20, 4.0))), 0.04, 85),
        Expected(L1Sparse(settings=L1SparseSettings(2e-3, Pace(15, 4.0))), 0.08, 75),
        Expected(GradientAscent(settings=GradientAscentSettings(Pace(8, 0.3))), 0.25, 60, 0.02),
        Expected(NegativeGradientPlus(settings=NegativeGradientPlusSettings(0.9, Pace(10, 0.5))), 0.1, 70),
        Expected(Munba(settings=MunbaSettings(pace=Pace(20, 1.0))), 0.15, 85),
        Expected(GdrGma(settings=GdrGmaSettings(pace=Pace(30, 0.3))), 0.6, 85, 0.3),
        Expected(RandomLabel(settings=RandomLabelSettings(Pace(20, 1.0))), 0.3, 85),
        Expected(SalUn(settings=SalUnSettings(0.5, Pace(20, 1.0))), 0.25, 85),
        Expected(BadTeacher(settings=BadTeacherSettings(1.0, Pace(10, 1.0))), 0.2, 75),
        Expected(Scrub(settings=ScrubSettings(max_epochs=12, pace=Pace(16, 1.0))), 0.1, 75),
        Expected(Sfron(settings=SfronSettings(alpha=5.0, pace=Pace(20, 1.0))), 0.1, 70),
        Expected(Ssd(settings=SsdSettings(alpha=0.5, lambda_=0.3)), 0.25, 60),
        Expected(Orthograd(settings=OrthogradSettings(0.7, 16, Pace(20, 0.5))), 0.5, 75),
        Expected(Pgu(settings=PguSettings(0.6, pace=Pace(60, 0.1, plain=True))), 0.05, 70),
        Expected(ProjectedAscent(settings=ProjectedAscentSettings(beta=0.9, pace=Pace(10, 0.5))), 0.1, 70),
    )
}

# The guards engaged, and no more calibration than it takes to begin.
GUARDED = InterferenceAware(
    guards="always", calibration=CalibrationSettings(reference_samples=16, probe_samples=32)
)

# Methods that have no retained loss to lower on other heads: there nothing may move.
LEAVES_OTHER_HEADS = ("gradient_ascent", "pgu", "projected_ascent", "salun", "ssd")
