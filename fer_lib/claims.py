"""What the papers claim, which rows test it, and what the records say: the words are computed from the records."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
from pandas.io.formats.style import Styler

from fer_lib.compare import TITLES
from fer_lib.evaluate import mean_interval
from fer_lib.record import Record, differences, summarize

# The row that is the whole method; what a figure is held against in place of a row; and the accuracies in percent
# that we found in print: method, dataset, figure.
WHOLE = {"ll_fer": "A7", "sr_fer": "S5", "clcl": "B4", "err_net": "E5", "lnl": "N4"}
SPOILT = {"ll_fer": "darkened", "sr_fer": "a quarter of the width"}
FLOORS = {"crucial_even": "even weights", "psnr_input": "the face as it is", "psnr_mean": "the mean residual of the class taken off"}
PRINTED = {"clcl": {"rafdb": 92.21, "ferplus": 89.50, "sfew": 62.82, "affectnet": 65.29}}


class Check(NamedTuple):
    """Two rows and the side on which a claim expects their difference.

    Attributes:
        figure, over: see :func:`fer_lib.record.differences`.
        sign: 1 if ``second`` should have more than ``first``, -1 if less.
        unit, form, scale: how the difference, times ``scale``, is written.

    Explained in: book/compare.ipynb
    """

    first: str
    second: str
    figure: str = "accuracy"
    over: str = ""
    sign: int = 1
    unit: str = "points"
    form: str = "+z.1f"
    scale: float = 1.0


class Claim(NamedTuple):
    """A claim in the sense of the paper's abstract, shortened.

    Attributes:
        checks: what should hold if the claim does.
        controls: what should hold too, if it holds for the reason that the paper gives.
        untested: why it could not be tested here, "" where there are checks.

    Explained in: book/compare.ipynb
    """

    method: str
    words: str
    checks: tuple[Check, ...] = ()
    controls: tuple[Check, ...] = ()
    untested: str = ""


_DB = {"figure": "psnr_restored", "unit": "dB of PSNR", "form": "+z.2f"}
_GAP = {"figure": "prediction_gap_restored", "unit": "nats of the judge's gap", "form": "+z.2f", "sign": -1}
_UNSEEN = "accuracy/realistic_low_resolution:4"
_APART = {"figure": "ratio", "unit": "of the distance between classes over that within", "form": "+z.2f"}
_SHARE = {"figure": "crucial", "unit": "of the weight", "form": "+z.2f"}


def _pull(first: str, second: str) -> tuple[Check, ...]:
    """Learning intensity at the three shallow stages."""
    return tuple(Check(first, second, f"intensity_total_{j}", unit=f"thousandths of a nat at stage {j}", form="+z.2f", scale=1e3) for j in (1, 2, 3))


CLAIMS: tuple[Claim, ...] = (
    Claim("ll_fer", "Recognizers drop sharply on low-light faces.", (Check("A0", "A1", sign=-1),)),
    Claim(
        "ll_fer", "LLENet recovers rich detail, in competition with other enhancers.",
        (Check("A1", "A4", **_DB), Check("A4-zero-dce", "A4", **_DB)), (Check("A2-stretch", "A4", **_DB), Check("A2-stretch", "A4", **_GAP)),
    ),
    Claim(
        "ll_fer", "Steered by the recognizer, the enhanced pictures suit recognition better.",
        (Check("A4", "A6"),), (Check("A6-unguided", "A6"),),
    ),
    Claim(
        "ll_fer", "The joint framework raises the accuracy.",
        (Check("A4", "A7"),), tuple(Check(row, "A7") for row in ("A7-unguided", "A5", "A5-stretch", "A3")),
    ),
    Claim(
        "ll_fer", "It does so for several existing recognizers.",
        *(tuple(Check(f"{row}-{other}", f"A7-{other}") for other in ("B4", "N4")) for row in ("A4", "A7-unguided")),
    ),
    Claim("sr_fer", "Recognizers drop rapidly on low-resolution faces.", (Check("S0", "S1", sign=-1),)),
    Claim(
        "sr_fer", "Joint learning with both consistencies raises the accuracy on restored faces.",
        (Check("S2", "S5"),), tuple(Check(row, "S5") for row in ("S5-unguided", "S6", "S8-finetune", "S8-retrain")),
    ),
    Claim(
        "sr_fer", "The recognizer feeds information back, so that restored faces suit it better.",
        (Check("S2", "S10"),), (Check("S10-unguided", "S10"),),
    ),
    Claim(
        "sr_fer", "Attention consistency at several stages restores what tells expressions apart.",
        (Check("S2", "S3"),), (Check("S5-unguided", "S3"), Check("S7-4", "S5")),
    ),
    Claim(
        "sr_fer", "Prediction consistency narrows the gap between predictions on restored and original faces.",
        (Check("S2", "S4", **_GAP),), (Check("S5-unguided", "S4", **_GAP),),
    ),
    Claim(
        "sr_fer", "It keeps helping over several resolutions.",
        *(tuple(Check(f"{row}{x}", f"S5{x}") for x in ("x2", "", "x8")) for row in ("S2", "S5-unguided")),
    ),
    Claim(
        "sr_fer", "It keeps the accuracy acceptable under several degradations.",
        (Check("S2", "S5", _UNSEEN),), tuple(Check(row, "S5", _UNSEEN) for row in ("S5-unguided", "S8-retrain")),
    ),
    Claim(
        "sr_fer", "It helps several super-resolvers.",
        *(tuple(Check(f"S9-{net}-{kind}", f"S9-{net}") for net in ("fsrcnn", "rcan")) for kind in ("alone", "unguided")),
    ),
    Claim("clcl", "The cross-layer loss raises the learning intensity of shallow layers.", _pull("B1", "B4"), _pull("C2", "B4")),
    Claim(
        "clcl", "Aligning latent semantics across layers makes recognition better.",
        (Check("B1", "B4"),), (Check("C2", "B4"), Check("C2-stranger", "B3"), Check("C1", "B4")),
    ),
    Claim("clcl", "Features of several layers, fused with adaptive weights, make it better.", (Check("B0", "B1"),), (Check("B1-sum", "B1"),)),
    Claim("clcl", "Best or second best accuracy on four datasets.", untested="it takes pretrained weights, larger networks and three datasets that are not at hand; of the fourth, FERPlus, we have no test faces"),
    Claim(
        "err_net", "The residual image, the landmark residual, the code's segments and the adversary each have a clear effect.",
        (Check("E0", "E1"), Check("E1", "E2"), Check("E2", "E3"), Check("E3", "E5")), (Check("E5-stop", "E5"),),
    ),
    Claim(
        "err_net", "The expression, a component over the neutral face, is removed.",
        tuple(Check("E5", "E5", "psnr_estimate", floor, unit="dB of PSNR", form="+z.2f") for floor in ("psnr_input", "psnr_mean")),
    ),
    Claim(
        "err_net", "Segments of the code correspond to expressions, and that keeps the classes apart.",
        (Check("E0", "E5", **_APART), Check("E2", "E3", **_APART)), (Check("E8-none", "E5", **_APART),),
    ),
    Claim(
        "err_net", "The network's output is the residual image (better than the neutral face itself: so we read it).",
        (Check("E6", "E9-own"), Check("E6", "E9-own", "psnr_estimate", unit="dB of PSNR", form="+z.2f")),
    ),
    Claim("err_net", "Accuracy above the state of the art on CK+ and MMI.", untested="it takes those datasets, and we found no figure to meet"),
    Claim(
        "lnl", "Regions read locally and weighed by a non-local network work better together.",
        (Check("N1", "N4"), Check("N2", "N4")), (Check("N0", "N4"),),
    ),
    Claim(
        "lnl", "The weights, fed back into the local part, make it better.",
        (Check("N3", "N4"),), (Check("N8-random", "N4"), Check("N8-shuffled", "N4")),
    ),
    Claim(
        "lnl", "The weights become higher for more crucial regions.",
        (Check("N4", "N4", over="crucial_even", **_SHARE),), (Check("N8-random", "N4", **_SHARE), Check("N8-shuffled", "N4", **_SHARE)),
    ),
    Claim("lnl", "A U-Net joins deep semantics and low-level detail.", (Check("N5", "N4"),)),
    Claim("lnl", "Competitive on five benchmarks.", untested="we found neither their names nor a figure"),
)  # fmt: skip


def outcome(records: Sequence[Record], claim: Claim) -> str:
    """What the records say of a claim: a verdict, then each difference with its 95 % interval over common seeds.

    The verdict asks on which side of zero each check's interval lies: ``held`` if all lie where the
    claim expects them, ``did not hold`` if one lies on the other side and none where expected.

    Explained in: book/compare.ipynb
    """
    if claim.untested:
        return f"**could not be tested here**: {claim.untested}."
    own = [r for r in records if r.method == claim.method]
    checks, controls = ([_measured(own, check) for check in group] for group in (claim.checks, claim.controls))
    verdict = _verdict([side for side, _ in checks])
    if verdict.startswith("held"):
        verdict += _beyond([side for side, _ in controls])
    return f"**{verdict}**: {_listed(checks)}." + f" Controls: {_listed(controls)}." * bool(controls)


def claim_list(records: Sequence[Record], only: str = "") -> str:
    """Every claim and its :func:`outcome`, one line each in Markdown, under the method's name; or of one method ``only``.

    Explained in: book/compare.ipynb
    """
    said = []
    for method in dict.fromkeys(claim.method for claim in CLAIMS):
        if only not in ("", method):
            continue
        said.append(f"\n**{TITLES[method]}**\n")
        for claim in (claim for claim in CLAIMS if claim.method == method):
            said.append(f'- <span class="paper">{claim.words}</span> <span class="measured">Our records:</span> {outcome(records, claim)}')
    return "\n".join(said)


def count_outcomes(records: Sequence[Record]) -> str:
    """How many claims came out how, and on how many intervals that rests.

    Explained in: book/compare.ipynb
    """
    verdicts = [outcome(records, claim).split("**")[1] for claim in CLAIMS]
    counts = {verdict: verdicts.count(verdict) for verdict in sorted(verdicts, key=lambda v: -verdicts.count(v))}
    said = "; ".join(f"{verdict}: {count}" for verdict, count in counts.items())
    asked = {(c.method, x) for c in CLAIMS for x in c.checks + c.controls}
    sides = [_measured([r for r in records if r.method == method], x)[0] for method, x in asked]
    known, apart = sum(side is not None for side in sides), sum(bool(side) for side in sides)
    return f"Of {len(CLAIMS)} claims: {said}. This rests on {known} intervals, of which {apart} leave out zero. If no pair differed in truth, about {0.05 * known:.1f} still would."


def beside_print(records: Sequence[Record], caption: str) -> Styler:
    """Every accuracy that we found printed, or that none was found, beside our nearest record of the whole method.

    Nearest is the same dataset, then any photographs, then drawn faces, and of several trainings the longest (``B4-votes``, else ``B4-all``); the last column says why the two are not the same thing.

    Explained in: book/compare.ipynb
    """
    lines = []
    for method, row in WHOLE.items():
        trained = (f"{row}-votes", f"{row}-all", row)
        own = [r for r in records if r.method == method and r.row in trained]
        for dataset, printed in PRINTED.get(method, {"": None}).items():
            line = {"method": TITLES[method], "printed (%)": "none found", "on": "–", "ours (%)": "no record yet", "row": "–", "measured on": "–"}
            if printed:
                line |= {"printed (%)": f"{printed:.2f}", "on": dataset}
            line["comparable"] = "no: nothing was measured" if printed else "nothing to compare with"
            if own:
                nearest = min(own, key=lambda r: (r.dataset != dataset, r.dataset == "faces", r.profile, trained.index(r.row)))
                same = [r for r in own if (r.row, r.dataset, r.profile, r.split) == (nearest.row, nearest.dataset, nearest.profile, nearest.split)]
                found, p = summarize(same).iloc[0], nearest.parameters
                line["ours (%)"] = f"{found['accuracy']:.1f} ({found['seeds']} seed{'s' * bool(found['seeds'] > 1)})"
                line["row"] = nearest.row
                line["measured on"] = ", ".join([nearest.dataset, nearest.split, nearest.profile, *filter(None, [SPOILT.get(method)])])
                ours = f"{p['backbone']}, {p['size']} pixels, {'with' if p['weights'] else 'without'} pretrained weights"
                if printed:
                    line["comparable"] = f"no: other {'faces' if nearest.dataset != dataset else 'split'}; ours is {ours}"
            lines.append(line)
    return pd.DataFrame(lines).style.hide(axis="index").set_caption(caption)


def _measured(records: Sequence[Record], check: Check) -> tuple[int | None, str]:
    """1, -1 or 0 as the difference lies where expected, opposite, or around zero, and words; None and its name if unrecorded."""
    each = differences(records, check.first, check.second, check.figure, check.over)
    name = f"{check.second} − {FLOORS[check.over] if check.over else check.first}"
    if len(each) < 2:
        return None, name
    mean, low, high = mean_interval(list(each.values()))
    side = check.sign * (int(low > 0) - int(high < 0))
    mean, low, high = (f"{check.scale * value:{check.form}}" for value in (mean, low, high))
    return side, f"{name}: {mean} {check.unit} [{low}, {high}]"


def _listed(found: Sequence[tuple[int | None, str]]) -> str:
    """What was measured, and at the end, once each, what waits for its records."""
    waiting = dict.fromkeys(text for side, text in found if side is None)
    return "; ".join([text for side, text in found if side is not None] + [f"{', '.join(waiting)} not recorded yet"] * bool(waiting))


def _verdict(sides: Sequence[int | None]) -> str:
    known = [side for side in sides if side is not None]
    if not known:
        return "not recorded yet"
    if min(known) == 1:
        verdict = "held"
    elif max(known) == 1:
        verdict = "held in part"
    else:
        verdict = "did not hold" if min(known) == -1 else "no clear difference"
    return verdict + ", as far as recorded" * (len(known) < len(sides))


def _beyond(sides: Sequence[int | None]) -> str:
    """What the controls leave of a claim that held."""
    if not sides:
        return ""
    known = [side for side in sides if side is not None]
    if not known:
        return ", its controls not recorded yet"
    if min(known) < 1:
        return ", but not beyond every control"
    return ", and beyond its controls" + " so far recorded" * (len(known) < len(sides))
