"""Asset checks by what they look at.

Does not belong here: the judgement itself (``core``) and the audit (``operations.audit``).
"""
