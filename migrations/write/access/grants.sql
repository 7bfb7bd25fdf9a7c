-- What each component may do in the primary. All of it is taken back first, so what does not stand here nobody has. A table that is new
-- has a line here, or stands among those that are for the owner alone in the test of the grants.
-- The log is append-only for all: nobody has UPDATE, DELETE or TRUNCATE on it.

GRANT SELECT, UPDATE ON log_head TO orderstore_command;
GRANT SELECT, INSERT ON order_events TO orderstore_command;
GRANT SELECT, INSERT, UPDATE ON orders, registry, provider_load, provider_reports, order_days TO orderstore_command;
GRANT SELECT, INSERT, UPDATE, DELETE ON deadlines TO orderstore_command;
GRANT SELECT, INSERT, DELETE ON idempotency_keys TO orderstore_command;
GRANT SELECT, INSERT ON tasks, results, facts TO orderstore_command;
GRANT SELECT ON subscriptions, subscription_notices TO orderstore_command;
GRANT EXECUTE ON FUNCTION extend_log TO orderstore_command;

-- Who calls, by which keys tokens are signed, what operators did, and how far all is.
GRANT SELECT, INSERT, UPDATE ON clients, signing_keys TO orderstore_identity;
GRANT SELECT, INSERT ON secrets, admin_audit TO orderstore_identity;
GRANT SELECT, INSERT, DELETE ON request_keys TO orderstore_identity;
GRANT SELECT, INSERT, UPDATE, DELETE ON request_nonces TO orderstore_identity; -- UPDATE for the row locks of those who delete old ones
GRANT SELECT ON log_head, registry, subscriptions, subscription_positions TO orderstore_identity;

GRANT SELECT ON log_head, order_events TO orderstore_relay, orderstore_projection, orderstore_auxiliary, orderstore_broadcast;

GRANT SELECT, INSERT, UPDATE, DELETE ON subscriptions, subscription_secrets, deliveries TO orderstore_broadcast;
GRANT SELECT, INSERT, UPDATE ON subscription_positions, subscription_health TO orderstore_broadcast;
GRANT SELECT, INSERT ON delivery_attempts, subscription_notices TO orderstore_broadcast;
GRANT EXECUTE ON FUNCTION extend_delivery_attempts, trim_delivery_attempts TO orderstore_broadcast;

-- Customers are made known and erased by who writes orders. Everybody else who shows or tells them reads their keys.
GRANT SELECT, INSERT, UPDATE ON customer_keys TO orderstore_command;
GRANT SELECT ON customer_keys TO orderstore_identity, orderstore_auxiliary;
GRANT SELECT, INSERT ON customer_master TO orderstore_command, orderstore_identity, orderstore_auxiliary;
