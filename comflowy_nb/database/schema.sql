-- Tables of history.sqlite. Rows refer to a run or a sweep by its token, a uuid4; `number` is N of rN and sN.
-- A change needs a new VERSION in migrations.py, and the statements that bring an older file up to date. The columns
-- of runs and sweeps are written and read by the fields of the records in records.py.

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
    started_at REAL, -- of the execution
    finished_at REAL,
    service_run_id TEXT,
    service_status TEXT,
    problem TEXT,
    reason TEXT,
    warning TEXT,
    name TEXT,
    sweep TEXT REFERENCES sweeps (token), -- the sweep for which the run was submitted
    cancel_asked_at REAL,
    defaults TEXT REFERENCES defaults (sha256), -- of a workflow id, whose graph only the service has
    imported TEXT -- the file that the run was loaded from; NULL: submitted here
);
CREATE INDEX runs_by_key ON runs (key, number);
CREATE INDEX runs_by_status ON runs (status);
CREATE INDEX runs_by_workflow ON runs (identity, coalesce(workflow_id, workflow), number) WHERE status = 'success';
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

-- Field id -> value of a workflow as it was described when the run was submitted.
CREATE TABLE defaults (sha256 TEXT PRIMARY KEY, content TEXT NOT NULL) WITHOUT ROWID;

-- The index of values (value_index.py): the hash of a field's name and value, or of the workflow of a run.
CREATE TABLE run_values (hash INTEGER NOT NULL, run INTEGER NOT NULL, PRIMARY KEY (hash, run)) WITHOUT ROWID;

-- The same for the values of graphs and defaults.
CREATE TABLE workflow_values (
    hash INTEGER NOT NULL, sha256 TEXT NOT NULL, PRIMARY KEY (hash, sha256)
) WITHOUT ROWID;

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
    name TEXT,
    imported TEXT -- as for runs
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

-- Ratings of images. `source` is '' for this user, else the name of the person who sent the rating.
CREATE TABLE ratings (
    run TEXT NOT NULL,
    position INTEGER NOT NULL,
    source TEXT NOT NULL,
    rating INTEGER, -- 1 to 5; NULL: not rated
    rejected INTEGER NOT NULL,
    note TEXT,
    rated_at REAL NOT NULL,
    PRIMARY KEY (run, position, source)
) WITHOUT ROWID;

-- Results of the user's functions of an image, by name. `error` is the exception of a function.
CREATE TABLE scores (
    run TEXT NOT NULL,
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    value REAL,
    error TEXT,
    PRIMARY KEY (run, position, name)
) WITHOUT ROWID;

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

-- Files to remove, after the transaction that pruned or deleted: the original of an image, or all files of a run (-1).
CREATE TABLE removals (
    run TEXT NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (run, position)
) WITHOUT ROWID;
