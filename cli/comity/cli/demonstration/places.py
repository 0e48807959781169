"""The invented cameras of the demonstration: around the harbor, on the way to the border, at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from comity.cli.demonstration.traffic import Camera


def _row(
    *,
    names: Sequence[str],
    owner: str,
    kind: str,
    at: tuple[float, float],
    step: tuple[float, float],
    road: str,
    crossings: Sequence[str],
    directions: Sequence[str],
    source: str,
) -> tuple[Camera, ...]:
    """Return cameras that stand along one road, one for each name."""
    return tuple(
        Camera(
            name=name,
            owner=owner,
            kind=kind,
            latitude=round(at[0] + index * step[0], 6),
            longitude=round(at[1] + index * step[1], 6),
            address=f"{400 + 150 * index} {road}",
            intersection=f"{road} and {crossings[index % len(crossings)]}",
            direction=directions[index % len(directions)],
            source=source,
        )
        for index, name in enumerate(names)
    )


CAMERAS: Mapping[str, Mapping[str, tuple[Camera, ...]]] = {
    "cbp": {
        "primary": _row(
            names=[f"Tecolote Mesa lane {lane}" for lane in range(1, 9)],
            owner="CBP",
            kind="primary",
            at=(32.5503, -117.0291),
            step=(0.00004, 0.00035),
            road="Camino de la Mesa",
            crossings=("Border Plaza",),
            directions=("inbound",),
            source="port of entry, primary inspection",
        ),
        "checkpoint": _row(
            names=("Palo Seco checkpoint 1", "Palo Seco checkpoint 2"),
            owner="CBP",
            kind="checkpoint",
            at=(33.0912, -117.2866),
            step=(0.0002, 0.0001),
            road="Palo Seco Highway",
            crossings=("Old Mission Road",),
            directions=("northbound",),
            source="inland checkpoint",
        ),
        "mobile": _row(
            names=("CBP mobile unit 1", "CBP mobile unit 2"),
            owner="CBP",
            kind="mobile",
            at=(32.6011, -116.9702),
            step=(0.012, 0.018),
            road="Otay Verde Road",
            crossings=("Arroyo Lane", "Cactus Street"),
            directions=("eastbound", "westbound"),
            source="mobile reader",
        ),
        "covert": _row(
            names=("CBP unit 7",),
            owner="CBP",
            kind="covert",
            at=(32.5788, -116.6251),
            step=(0.0, 0.0),
            road="Campo Alto Trail",
            crossings=("Mile 12",),
            directions=("northbound",),
            source="covert reader",
        ),
    },
    "dea": {
        "inbound": _row(
            names=[f"Corridor 8 inbound {mile}" for mile in (12, 31, 47, 66)],
            owner="DEA",
            kind="fixed",
            at=(32.7831, -116.4902),
            step=(0.002, 0.21),
            road="Corridor 8",
            crossings=("Pinto Wash", "Dos Palmas", "Ocotillo Flat", "Sand Hills"),
            directions=("westbound",),
            source="fixed reader, inbound",
        ),
        "outbound": _row(
            names=[f"Corridor 5 outbound {mile}" for mile in (4, 9, 22)],
            owner="DEA",
            kind="fixed",
            at=(32.6204, -117.0902),
            step=(0.09, -0.02),
            road="Corridor 5",
            crossings=("Bahia Avenue", "Mission Point", "La Costa Verde"),
            directions=("southbound",),
            source="fixed reader, outbound",
        ),
    },
    "vendor": {
        "commercial": (
            *_row(
                names=[f"Crestline toll plaza {plaza}" for plaza in (1, 2, 3)],
                owner="Crestline Toll Roads",
                kind="fixed",
                at=(33.6402, -117.7903),
                step=(-0.031, 0.044),
                road="Crestline Toll Road",
                crossings=("El Toro Pass", "Laguna Grade", "Oso Summit"),
                directions=("northbound", "southbound"),
                source="Crestline toll road camera",
            ),
            *_row(
                names=("Anchor Street garage in", "Anchor Street garage out", "Marina lot 4"),
                owner="Quayside Parking",
                kind="fixed",
                at=(33.7688, -118.1932),
                step=(0.003, -0.006),
                road="Anchor Street",
                crossings=("Third Quay", "Lantern Walk"),
                directions=("in", "out"),
                source="parking lot camera",
            ),
            *_row(
                names=("Pacific Recovery van 12", "Pacific Recovery van 15"),
                owner="Pacific Recovery",
                kind="mobile",
                at=(33.8313, -118.2804),
                step=(0.022, 0.031),
                road="Figtree Boulevard",
                crossings=("Ninth Street", "Linden Court"),
                directions=("",),
                source="repossession company vehicle",
            ),
            *_row(
                names=("Bell Harbor PD pole 3", "Bell Harbor PD pole 8"),
                owner="Bell Harbor Police",
                kind="fixed",
                at=(33.7991, -118.0713),
                step=(0.011, 0.009),
                road="Seaward Avenue",
                crossings=("Heron Street", "Pelican Way"),
                directions=("eastbound", "westbound"),
                source="police camera",
            ),
        ),
    },
    "lapd": {
        "fixed": _row(
            names=[f"HAR-{number:02}" for number in range(1, 13)],
            owner="LAPD",
            kind="fixed",
            at=(33.7432, -118.2921),
            step=(0.0061, 0.0023),
            road="Gaffney Heights Boulevard",
            crossings=("First Street", "Channel Road", "Summit Avenue", "Vermont Bluff"),
            directions=("northbound", "southbound"),
            source="fixed pole, Harbor area",
        ),
        "mobile": _row(
            names=[f"5A{unit}" for unit in (21, 35, 47, 69)],
            owner="LAPD",
            kind="mobile",
            at=(33.7603, -118.2807),
            step=(0.013, 0.007),
            road="Pacific Heights Avenue",
            crossings=("Ninth Street", "Barton Court", "Sepulcro Street", "Carson Bluff"),
            directions=("",),
            source="patrol car",
        ),
    },
    "lahd": {
        "fixed": _row(
            names=[f"Berth {berth} gate" for berth in (93, 121, 136, 206, 302, 401)],
            owner="Port Police",
            kind="fixed",
            at=(33.7391, -118.2742),
            step=(0.0034, 0.0049),
            road="Terminal Quay Road",
            crossings=("Gull Street", "Mooring Way"),
            directions=("inbound", "outbound"),
            source="terminal gate",
        ),
        "mobile": _row(
            names=("PP-7 car", "PP-9 car"),
            owner="Port Police",
            kind="mobile",
            at=(33.7502, -118.2505),
            step=(0.006, 0.011),
            road="Harbor Loop",
            crossings=("Signal Street", "Beacon Walk"),
            directions=("",),
            source="patrol car",
        ),
    },
}
"""Provider → store → its cameras."""
