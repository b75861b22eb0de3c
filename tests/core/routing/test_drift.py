from thrift_core.routing.drift import DriftWatch


def test_a_lasting_change_of_the_escalation_rate_is_noticed_and_chance_is_not():
    watch = DriftWatch(max_loss=0.05, escalations=0.3)
    for number in range(600):
        watch.add_draft(has_escalated=number % 10 < 3)
    assert not watch.report().has_shifted
    for number in range(200):
        watch.add_draft(has_escalated=number % 10 < 6)
    assert watch.report().has_shifted
    assert not watch.report().is_broken


def test_a_loss_within_the_target_breaks_nothing():
    watch = DriftWatch(max_loss=0.2)
    for number in range(150):
        watch.add_audit(float(number % 10 == 0))
    report = watch.report()
    assert report.loss_at_least <= 0.1 <= report.loss_at_most
    assert not report.is_broken


def test_nothing_seen_says_nothing():
    report = DriftWatch(max_loss=0.01).report()
    assert (report.audits, report.loss, report.escalations) == (0, None, None)
