-- One package of the index that apt-get update has fetched. Sizes are in KiB.
CREATE TABLE packages(
    name TEXT PRIMARY KEY,
    version TEXT NOT NULL,
    section TEXT,
    priority TEXT,
    architecture TEXT,
    maintainer TEXT,
    installed_size INTEGER,
    homepage TEXT,
    summary TEXT,
    description TEXT,
    depends JSON,
    recommends JSON,
    provides JSON
);
CREATE INDEX packages_section ON packages(section);
