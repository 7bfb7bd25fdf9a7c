-- What each component may do in the auxiliary database. All of it is taken back first, so what does not stand here nobody has. A table
-- that is new has a line here and, where its rows are somebody's, one in rows.sql.

GRANT SELECT ON records, checkpoints, stock, stock_vendors TO orderstore_query;

GRANT SELECT, INSERT, UPDATE, DELETE ON records, checkpoints, outbox, notice_orders, notices, stock, stock_orders, stock_vendors,
    replenishment_runs, skipped_events, notice_settings, notice_templates, order_bills, invoice_series, invoice_sellers, invoices,
    loyalty_points, customer_keys, customers, customer_orders, stock_webhooks, replenishment_schedules TO orderstore_auxiliary;
GRANT SELECT, INSERT ON system_actions TO orderstore_auxiliary;
