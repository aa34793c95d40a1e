"""SQL schema of the history."""

from __future__ import annotations

__all__ = ["LIVE", "STEPS", "VERSION"]

LIVE = "('submitting', 'waiting', 'pending', 'running')"

# `runs.sweep` is the sweep for which a run was submitted; `cells.run` is the token of the run shown for a cell, which
# may have been submitted for something else. `senders` are the processes that submit a sweep. `inputs` maps the names
# under which a service stores uploaded images to their content.
_SCHEMA_1 = f"""
CREATE TABLE runs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    token TEXT NOT NULL UNIQUE,
    identity TEXT NOT NULL,
    origin TEXT NOT NULL,
    service TEXT NOT NULL,
    workflow TEXT NOT NULL,
    workflow_id TEXT,
    graph TEXT REFERENCES graphs (sha256),
    params TEXT NOT NULL,
    set_params TEXT NOT NULL,
    key TEXT NOT NULL,
    status TEXT NOT NULL,
    owner TEXT NOT NULL,
    created_at REAL NOT NULL,
    accepted_at REAL,
    finished_at REAL,
    service_run_id TEXT,
    service_status TEXT,
    problem TEXT,
    reason TEXT,
    remark TEXT,
    name TEXT,
    sweep INTEGER REFERENCES sweeps (number),
    cancel_asked_at REAL
);
CREATE INDEX runs_of_key ON runs (key, number);
CREATE INDEX runs_of_service_id ON runs (service_run_id) WHERE service_run_id IS NOT NULL;
CREATE INDEX runs_alive ON runs (number) WHERE status IN {LIVE};
CREATE TABLE images (
    run INTEGER NOT NULL REFERENCES runs (number),
    position INTEGER NOT NULL,
    node TEXT,
    node_index INTEGER NOT NULL,
    state TEXT NOT NULL,
    file TEXT,
    sha256 TEXT,
    size_bytes INTEGER,
    width_px INTEGER,
    height_px INTEGER,
    format TEXT,
    error TEXT,
    PRIMARY KEY (run, position)
) WITHOUT ROWID;
CREATE INDEX images_owed ON images (run) WHERE state = 'expected';
CREATE TABLE names (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    run INTEGER REFERENCES runs (number),
    sweep INTEGER REFERENCES sweeps (number),
    CHECK ((run IS NULL) <> (sweep IS NULL))
);
CREATE INDEX names_by_name ON names (name, id);
CREATE TABLE words (run INTEGER PRIMARY KEY REFERENCES runs (number), text TEXT NOT NULL);
CREATE TABLE graphs (sha256 TEXT PRIMARY KEY, content TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE samples (
    id INTEGER PRIMARY KEY AUTOINCREMENT, identity TEXT NOT NULL, workflow_key TEXT NOT NULL, seconds REAL NOT NULL
);
CREATE INDEX samples_of_workflow ON samples (identity, workflow_key, id);
CREATE TABLE sweeps (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    token TEXT NOT NULL UNIQUE,
    identity TEXT NOT NULL,
    origin TEXT NOT NULL,
    service TEXT NOT NULL,
    workflow TEXT NOT NULL,
    workflow_id TEXT,
    key TEXT NOT NULL,
    spec TEXT NOT NULL,
    fresh INTEGER NOT NULL,
    created_at REAL NOT NULL,
    ended_at REAL,
    name TEXT
);
CREATE INDEX sweeps_of_key ON sweeps (key, number);
CREATE TABLE cells (
    sweep INTEGER NOT NULL REFERENCES sweeps (number),
    number INTEGER NOT NULL,
    at TEXT NOT NULL,
    params TEXT NOT NULL,
    key TEXT NOT NULL,
    run TEXT,
    PRIMARY KEY (sweep, number)
) WITHOUT ROWID;
CREATE INDEX cells_of_key ON cells (sweep, key);
CREATE TABLE seeds (draw_key TEXT PRIMARY KEY, seed INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE senders (
    sweep INTEGER NOT NULL REFERENCES sweeps (number),
    owner TEXT NOT NULL,
    stop_asked INTEGER NOT NULL,
    PRIMARY KEY (sweep, owner)
) WITHOUT ROWID;
CREATE TABLE inputs (
    identity TEXT NOT NULL,
    name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    PRIMARY KEY (identity, name)
) WITHOUT ROWID;
"""

STEPS = (_SCHEMA_1,)  # a new file takes all steps, an older one the steps after its version; a step never changes
VERSION = len(STEPS)  # PRAGMA user_version
