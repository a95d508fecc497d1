-- The accounts around the connector on MariaDB, each with the least that works.
-- `cdc-consumer grants mariadb` prints it with the placeholders filled from the environment; the tests' stack runs it.
-- One statement ends with a semicolon at the end of a line.

-- Debezium. REPLICATION SLAVE reads the binlog, REPLICATION CLIENT (MariaDB's BINLOG MONITOR)
-- asks for its position, SELECT reads the snapshot, RELOAD takes the short global read lock at its start;
-- RELOAD can go with snapshot.locking.mode=none, if no DDL runs during a snapshot.
CREATE USER '${CDC_MARIADB_USER:-debezium}'@'%' IDENTIFIED BY '${CDC_MARIADB_PASSWORD}';
GRANT REPLICATION SLAVE, REPLICATION CLIENT, RELOAD ON *.* TO '${CDC_MARIADB_USER:-debezium}'@'%';
GRANT SELECT ON `${CDC_MARIADB_DATABASE:-trading}`.* TO '${CDC_MARIADB_USER:-debezium}'@'%';

-- The consumer, for audit, repair and force-refresh. It reads the captured columns only: the database
-- itself refuses it a name or a password.
CREATE USER '${CDC_READER_USER:-cdc_reader}'@'%' IDENTIFIED BY '${CDC_READER_PASSWORD}';
GRANT SELECT (id, wallet_balance, margin, net_profit, leverage, `group`, status, is_active, account_number, country_id, mam_id, mam_status, pam_id, pam_status, copytrader_id, copytrading_status, copy_trading_wallet, copytrading_alloted_time, sending_orders, created_at, updated_at) ON `${CDC_MARIADB_DATABASE:-trading}`.live_users TO '${CDC_READER_USER:-cdc_reader}'@'%';
GRANT SELECT (id, wallet_balance, margin, net_profit, leverage, `group`, status, is_active, account_number, country_id, created_at, updated_at) ON `${CDC_MARIADB_DATABASE:-trading}`.demo_users TO '${CDC_READER_USER:-cdc_reader}'@'%';
GRANT SELECT (id, transaction_id, user_id, user_type, order_id, type, amount, status, reference_id, admin_id, created_at, updated_at) ON `${CDC_MARIADB_DATABASE:-trading}`.user_transactions TO '${CDC_READER_USER:-cdc_reader}'@'%';
GRANT SELECT (id, request_id, user_id, type, amount, status, admin_id, approved_at, transaction_id) ON `${CDC_MARIADB_DATABASE:-trading}`.money_requests TO '${CDC_READER_USER:-cdc_reader}'@'%';
