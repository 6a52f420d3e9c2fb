"""`BackgroundScorer`: takes exchanges from an application in microseconds, and scores them later."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

from pydantic import ValidationError

from pi_integrations.background.at_exit import drain_at_exit
from pi_integrations.background.forks import reset_after_fork
from pi_integrations.background.ledger import Ledger, ScorerCounts
from pi_integrations.background.once import WarnOnce, kind_of
from pi_integrations.background.sinks import BackgroundScore, MemorySink, SinkLike, as_sink
from pi_integrations.background.worker import Job, Worker
from pi_integrations.client import AsyncPiClient, PiClient
from pi_integrations.client.loop_thread import abandon, loop_thread
