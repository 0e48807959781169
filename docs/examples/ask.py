from datetime import UTC, datetime, timedelta
from pathlib import Path
from comity.certs.agency import AgencyHome
from comity.gateway import Question, Reason, connect

agency, now = Path("/tmp/federation/agencies/sheriff"), datetime.now(UTC)
with connect(agency / "gateway") as gateway:
    assertion = AgencyHome.load(agency).identity_provider().issue("j.ortega", gateway.certificate, now)
    question = Question(plate="8ABC123", state="CA", start=now - timedelta(days=10), end=now, for_self=True,
        reason=Reason.CRIMINAL_INVESTIGATION, case_number="26-0417", reason_text="burglary series")
    answer = gateway.ask(question, assertion=assertion)

print(answer.banner, *answer.caveats, sep="\n")
for outcome in answer.outcomes.values():
    print(outcome.provider, outcome.kind, len(outcome.reads))
for read in answer.reads[:3]:
    print(read.captured_at, read.provider, read.plate, read.location.address if read.location else "withheld")
