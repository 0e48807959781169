import asyncio
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from comity.certs.agency import AgencyHome
from comity.gateway import Answer, Completeness, Incomplete, Outcome, Plan, Question, Reason, Requester

agency, now = Path("/tmp/federation/agencies/sheriff"), datetime.now(UTC)
question = Question(plate="8ABC123", state="CA", start=now - timedelta(days=10), end=now, for_self=True,
    reason=Reason.CRIMINAL_INVESTIGATION, case_number="26-0417", reason_text="burglary series",
    completeness=Completeness.required("lapd"), timeout=timedelta(seconds=5))


async def follow() -> None:
    async with Requester.open(agency / "gateway") as requester:
        assertion = AgencyHome.load(agency).identity_provider().issue("j.ortega", requester.certificate, now)
        async with aclosing(requester.search(question, assertion=assertion)) as parts:
            async for part in parts:
                match part:
                    case Plan():
                        print("asked:", *part.asked)
                    case Outcome():
                        print(part, part.reason or part.text)
                    case Answer():
                        print(part.banner, *part.caveats, sep="\n")


try:
    asyncio.run(follow())
except Incomplete as error:
    print(error)  # what came is in error.answer
