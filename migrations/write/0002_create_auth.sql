-- +goose Up

-- Who may call. A secret is 256 random bits, so its plain SHA-256 cannot be searched; a slow hash would only slow logins.
CREATE TABLE clients (
    client_id   text PRIMARY KEY CHECK (client_id ~ '^[A-Za-z0-9_-]{1,64}$'),
    secret_hash bytea NOT NULL CHECK (octet_length(secret_hash) = 32),
    kind        text NOT NULL CHECK (kind IN ('user', 'provider', 'auxiliary', 'operator')),
    tenant      text NOT NULL DEFAULT '',
    provider    text NOT NULL DEFAULT '',
    system      text NOT NULL DEFAULT '',
    scopes      text[] NOT NULL CHECK (cardinality(scopes) > 0),
    disabled_at timestamptz,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    CHECK (
        (kind = 'user' AND tenant <> '' AND provider = '' AND system = '')
        OR (kind = 'provider' AND provider <> '' AND tenant = '' AND system = '')
        OR (kind = 'auxiliary' AND system <> '' AND provider = '')
        OR (kind = 'operator' AND tenant = '' AND provider = '' AND system = '')
    )
);

-- Every node polls for what changed; those already disabled are read once at start.
CREATE INDEX clients_updated_at ON clients (updated_at);
CREATE INDEX clients_disabled ON clients (client_id) WHERE disabled_at IS NOT NULL;

-- Keys that sign access tokens. The generation makes "the next key" a race that exactly one node wins.
CREATE TABLE signing_keys (
    generation  integer PRIMARY KEY CHECK (generation > 0),
    kid         text NOT NULL UNIQUE,
    private_key bytea NOT NULL, -- PKCS #8, DER
    public_key  bytea NOT NULL, -- SubjectPublicKeyInfo, DER
    active_from timestamptz NOT NULL, -- signs from here on, until a later generation does
    retired_at  timestamptz, -- verifies nothing from here on
    created_at  timestamptz NOT NULL DEFAULT now()
);

-- Random secrets that all nodes share, made by the first that needs one.
CREATE TABLE secrets (
    name       text PRIMARY KEY,
    value      bytea NOT NULL CHECK (octet_length(value) = 32),
    created_at timestamptz NOT NULL DEFAULT now()
);

-- +goose Down
DROP TABLE secrets;
DROP TABLE signing_keys;
DROP TABLE clients;
