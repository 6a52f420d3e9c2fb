"""The worker process: reads a user's source and arguments, runs `score` in pydantic-monty, words what went wrong.

Everything here runs in an interpreter of its own, away from the engine.
"""
