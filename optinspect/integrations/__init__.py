"""Callbacks for training frameworks; each module needs its framework only when its class is asked for."""
