"""Faults on real servers while changes flow, and the judgement of what came of it: ``make faults``."""
