"""Numbers as text that reads back as the same number."""


def shortest(value: float) -> str:
    """The shortest decimal that stands for this number; whole ones without a point."""
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))
