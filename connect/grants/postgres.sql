-- The accounts around the connector on PostgreSQL, each with the least that works. Run it in the
-- database whose tables are captured.
-- `cdc-consumer grants postgres` prints it with the placeholders filled from the environment; the tests' stack runs it.
-- One statement ends with a semicolon at the end of a line.

-- Debezium. The publication is made here, by the owner, and the connector runs with
-- publication.autocreate.mode=disabled: it needs no right to make one. Snapshots read the captured and masked columns
-- only: the database itself refuses a password. (The stream carries whole rows; the connector's include list cuts them.)
CREATE ROLE "${CDC_POSTGRES_USER:-debezium}" LOGIN REPLICATION PASSWORD '${CDC_POSTGRES_PASSWORD}';
GRANT USAGE ON SCHEMA "${CDC_POSTGRES_SCHEMA:-public}" TO "${CDC_POSTGRES_USER:-debezium}";
GRANT SELECT (id, wallet_balance, margin, net_profit, leverage, "group", status, is_active, account_number, country_id, mam_id, mam_status, pam_id, pam_status, copytrader_id, copytrading_status, copy_trading_wallet, copytrading_alloted_time, sending_orders, name, email, phone_number, city, state, pincode, bank_ifsc_code, bank_account_number, bank_holder_name, bank_branch_name, id_proof, id_proof_image, address_proof, address_proof_image, created_at, updated_at) ON "${CDC_POSTGRES_SCHEMA:-public}".live_users TO "${CDC_POSTGRES_USER:-debezium}";
GRANT SELECT (id, wallet_balance, margin, net_profit, leverage, "group", status, is_active, account_number, country_id, name, email, phone_number, city, state, pincode, bank_ifsc_code, bank_account_number, bank_holder_name, bank_branch_name, id_proof, id_proof_image, address_proof, address_proof_image, created_at, updated_at) ON "${CDC_POSTGRES_SCHEMA:-public}".demo_users TO "${CDC_POSTGRES_USER:-debezium}";
GRANT SELECT (id, transaction_id, user_id, user_type, order_id, type, amount, status, reference_id, admin_id, created_at, updated_at) ON "${CDC_POSTGRES_SCHEMA:-public}".user_transactions TO "${CDC_POSTGRES_USER:-debezium}";
GRANT SELECT (id, request_id, user_id, type, amount, status, admin_id, approved_at, transaction_id) ON "${CDC_POSTGRES_SCHEMA:-public}".money_requests TO "${CDC_POSTGRES_USER:-debezium}";
CREATE PUBLICATION "${CDC_POSTGRES_PUBLICATION:-cdc}" FOR TABLE "${CDC_POSTGRES_SCHEMA:-public}".live_users, "${CDC_POSTGRES_SCHEMA:-public}".demo_users, "${CDC_POSTGRES_SCHEMA:-public}".user_transactions, "${CDC_POSTGRES_SCHEMA:-public}".money_requests;

-- The consumer, for audit, repair and force-refresh: the captured columns only.
CREATE ROLE "${CDC_READER_USER:-cdc_reader}" LOGIN PASSWORD '${CDC_READER_PASSWORD}';
GRANT USAGE ON SCHEMA "${CDC_POSTGRES_SCHEMA:-public}" TO "${CDC_READER_USER:-cdc_reader}";
GRANT SELECT (id, wallet_balance, margin, net_profit, leverage, "group", status, is_active, account_number, country_id, mam_id, mam_status, pam_id, pam_status, copytrader_id, copytrading_status, copy_trading_wallet, copytrading_alloted_time, sending_orders, created_at, updated_at) ON "${CDC_POSTGRES_SCHEMA:-public}".live_users TO "${CDC_READER_USER:-cdc_reader}";
GRANT SELECT (id, wallet_balance, margin, net_profit, leverage, "group", status, is_active, account_number, country_id, created_at, updated_at) ON "${CDC_POSTGRES_SCHEMA:-public}".demo_users TO "${CDC_READER_USER:-cdc_reader}";
GRANT SELECT (id, transaction_id, user_id, user_type, order_id, type, amount, status, reference_id, admin_id, created_at, updated_at) ON "${CDC_POSTGRES_SCHEMA:-public}".user_transactions TO "${CDC_READER_USER:-cdc_reader}";
GRANT SELECT (id, request_id, user_id, type, amount, status, admin_id, approved_at, transaction_id) ON "${CDC_POSTGRES_SCHEMA:-public}".money_requests TO "${CDC_READER_USER:-cdc_reader}";
