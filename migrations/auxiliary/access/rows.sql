-- Which rows of a table are seen and may be written, by the settings of the connection (0007). The systems themselves work on all tenants'
-- events and say so (scope all).

SELECT keep_rows('records', 'sees_tenant(tenant)', 'writes_record(tenant, system)');
SELECT keep_rows('stock_vendors', 'sees_shared(tenant)', 'sees_tenant(tenant)');
SELECT keep_rows(name, 'sees_tenant(tenant)', 'sees_tenant(tenant)') FROM unnest(ARRAY['stock', 'stock_orders', 'replenishment_runs',
    'notice_orders', 'notice_settings', 'notice_templates', 'invoice_series', 'invoice_sellers', 'invoices', 'customer_keys', 'customers',
    'customer_orders', 'stock_webhooks', 'replenishment_schedules']::regclass[]) AS name;
-- These name no tenant. They are for the systems, and for operators.
SELECT keep_rows(name, 'sees_all()', 'sees_all()') FROM unnest(ARRAY['outbox', 'notices', 'order_bills', 'loyalty_points', 'skipped_events',
    'system_actions']::regclass[]) AS name;
