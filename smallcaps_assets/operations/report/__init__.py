"""The report: figures, reality against estimates, evidence, page.

Does not belong here: pictures (``plots``).
"""
