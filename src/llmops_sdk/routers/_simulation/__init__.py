"""A router in virtual time: what a policy would make of a traffic, before anybody is served by it."""

from llmops_sdk.routers._simulation.drive import simulate
from llmops_sdk.routers._simulation.model import EngineModel
from llmops_sdk.routers._simulation.result import Simulation
from llmops_sdk.routers._simulation.traffic import Traffic

__all__ = ["EngineModel", "Simulation", "Traffic", "simulate"]
