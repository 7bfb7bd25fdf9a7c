-- +goose Up

-- Keys by which clients sign requests (the header Order-Signature). The secret is kept as it is, like those of webhooks: who checks an HMAC
-- has to have what made it.
CREATE TABLE request_keys (
    key_id     text        PRIMARY KEY CHECK (key_id ~ '^[A-Za-z0-9_-]{1,64}$'),
    client_id  text        NOT NULL REFERENCES clients (client_id) ON DELETE CASCADE,
    secret     text        NOT NULL CHECK (length(secret) >= 32),
    created_at timestamptz NOT NULL
);
CREATE INDEX request_keys_client ON request_keys (client_id);

-- Nonces of signed requests that were taken, for as long as one could be sent again.
CREATE TABLE request_nonces (
    key_id     text        NOT NULL,
    nonce      text        NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (key_id, nonce)
);
CREATE INDEX request_nonces_expires_at ON request_nonces (expires_at);

-- +goose Down
DROP TABLE request_nonces;
DROP TABLE request_keys;
