"""A peer's log as a list of leaf hashes: what an honest peer proves of it."""

from collections.abc import Sequence

from comity.audit import merkle
from comity.v1.audit_pb2 import ConsistencyProof, InclusionProof, ProofDelivery, ProofRequest


def proofs_of(hashes: Sequence[bytes], request: ProofRequest) -> ProofDelivery:
    """Return the proofs that a request asks for, out of a log's leaf hashes."""
    first = hashes[: request.new_size]
    return ProofDelivery(
        consistency=ConsistencyProof(
            old_size=request.old_size,
            new_size=request.new_size,
            path=merkle.consistency_path(first, request.old_size),
        ),
        inclusions=[
            InclusionProof(index=index, size=len(first), path=merkle.inclusion_path(first, index))
            for index in request.indexes
        ],
    )
