-- Tables of history.sqlite. Rows refer to a run or a sweep by its token, a uuid4; `number` is N of rN and sN.
-- A change needs a new user_version in connection.py, and the statements that advance_to an older file up to date.

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
    warning TEXT,
    name TEXT,
    sweep TEXT REFERENCES sweeps (token), -- the sweep for which the run was submitted
    cancel_asked_at REAL
);
CREATE INDEX runs_by_key ON runs (key, number);
CREATE INDEX runs_by_status ON runs (status);
CREATE INDEX runs_by_service_id ON runs (service_run_id) WHERE service_run_id IS NOT NULL;

CREATE TABLE images (
    run TEXT NOT NULL REFERENCES runs (token),
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
CREATE INDEX images_expected ON images (run) WHERE state = 'expected';

CREATE TABLE graphs (sha256 TEXT PRIMARY KEY, content TEXT NOT NULL) WITHOUT ROWID;

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
CREATE INDEX sweeps_by_key ON sweeps (key, number);

CREATE TABLE cells (
    sweep TEXT NOT NULL REFERENCES sweeps (token),
    number INTEGER NOT NULL,
    at TEXT NOT NULL,
    params TEXT NOT NULL,
    key TEXT NOT NULL,
    run TEXT REFERENCES runs (token), -- the run shown for the cell; it may have been submitted for something else
    PRIMARY KEY (sweep, number)
) WITHOUT ROWID;
CREATE INDEX cells_by_key ON cells (sweep, key);

-- Every name that was given to a run or a sweep. The newest row of a name decides.
CREATE TABLE names (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, token TEXT NOT NULL);
CREATE INDEX names_by_name ON names (name, id);

-- Durations of runs.
CREATE TABLE samples (
    id INTEGER PRIMARY KEY AUTOINCREMENT, identity TEXT NOT NULL, workflow_key TEXT NOT NULL, seconds REAL NOT NULL
);
CREATE INDEX samples_by_workflow ON samples (identity, workflow_key, id);

-- Generated seeds. `draw_key` is a sha256 of what a seed was generated for.
CREATE TABLE seeds (draw_key TEXT PRIMARY KEY, seed INTEGER NOT NULL) WITHOUT ROWID;

-- The processes that submit a sweep.
CREATE TABLE senders (
    sweep TEXT NOT NULL REFERENCES sweeps (token),
    owner TEXT NOT NULL,
    stop_asked INTEGER NOT NULL,
    PRIMARY KEY (sweep, owner)
) WITHOUT ROWID;

-- The content of uploaded images, by the names under which a service stores them.
CREATE TABLE inputs (
    identity TEXT NOT NULL, name TEXT NOT NULL, sha256 TEXT NOT NULL, PRIMARY KEY (identity, name)
) WITHOUT ROWID;
