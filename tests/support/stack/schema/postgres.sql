-- The reference schema of the trading platform on PostgreSQL, in a schema called like the database,
-- so that topics are named as on MySQL. One statement ends with a semicolon at the end of a line.

CREATE SCHEMA ${CDC_POSTGRES_SCHEMA};
ALTER DATABASE ${CDC_POSTGRES_DATABASE} SET search_path = ${CDC_POSTGRES_SCHEMA};
SET search_path = ${CDC_POSTGRES_SCHEMA};

-- MySQL's ON UPDATE CURRENT_TIMESTAMP: a column that the statement itself sets is left alone.
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF NEW.updated_at = OLD.updated_at THEN NEW.updated_at = CURRENT_TIMESTAMP; END IF; RETURN NEW; END';

CREATE TABLE live_users (
  id SERIAL PRIMARY KEY,
  name VARCHAR(255) NOT NULL,
  email VARCHAR(255) NOT NULL,
  phone_number VARCHAR(20) NULL,
  password VARCHAR(255) NOT NULL,
  view_password VARCHAR(255) NULL,
  security_question VARCHAR(255) NULL,
  security_answer VARCHAR(255) NULL,
  city VARCHAR(100) NULL,
  state VARCHAR(100) NULL,
  pincode VARCHAR(10) NULL,
  bank_ifsc_code VARCHAR(50) NULL,
  bank_account_number VARCHAR(50) NULL,
  bank_holder_name VARCHAR(255) NULL,
  bank_branch_name VARCHAR(255) NULL,
  id_proof VARCHAR(255) NULL,
  id_proof_image VARCHAR(255) NULL,
  address_proof VARCHAR(255) NULL,
  address_proof_image VARCHAR(255) NULL,
  wallet_balance DECIMAL(18,6) NULL DEFAULT 0,
  margin DECIMAL(18,6) NULL DEFAULT 0,
  net_profit DECIMAL(18,6) NULL DEFAULT 0,
  leverage INT NULL DEFAULT 100,
  "group" VARCHAR(255) NULL DEFAULT 'Standard',
  status INT NULL DEFAULT 1,
  is_active BOOLEAN NULL DEFAULT true,
  account_number VARCHAR(100) NULL UNIQUE,
  country_id INT NULL,
  mam_id INT NULL,
  mam_status INT NULL DEFAULT 0,
  pam_id INT NULL,
  pam_status INT NULL DEFAULT 0,
  copytrader_id INT NULL,
  copytrading_status INT NULL DEFAULT 0,
  copy_trading_wallet DECIMAL(18,6) NULL DEFAULT 0,
  copytrading_alloted_time TIMESTAMP(0) NULL,
  sending_orders VARCHAR(255) NULL,
  created_at TIMESTAMP(0) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMP(0) NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE demo_users (
  id SERIAL PRIMARY KEY,
  name VARCHAR(255) NOT NULL,
  email VARCHAR(255) NOT NULL,
  phone_number VARCHAR(20) NULL,
  password VARCHAR(255) NOT NULL,
  view_password VARCHAR(255) NULL,
  security_question VARCHAR(255) NULL,
  security_answer VARCHAR(255) NULL,
  city VARCHAR(100) NULL,
  state VARCHAR(100) NULL,
  pincode VARCHAR(10) NULL,
  bank_ifsc_code VARCHAR(50) NULL,
  bank_account_number VARCHAR(50) NULL,
  bank_holder_name VARCHAR(255) NULL,
  bank_branch_name VARCHAR(255) NULL,
  id_proof VARCHAR(255) NULL,
  id_proof_image VARCHAR(255) NULL,
  address_proof VARCHAR(255) NULL,
  address_proof_image VARCHAR(255) NULL,
  wallet_balance DECIMAL(18,6) NULL DEFAULT 0,
  margin DECIMAL(18,6) NULL DEFAULT 0,
  net_profit DECIMAL(18,6) NULL DEFAULT 0,
  leverage INT NULL DEFAULT 100,
  "group" VARCHAR(255) NULL DEFAULT 'Standard',
  status INT NULL DEFAULT 1,
  is_active BOOLEAN NULL DEFAULT true,
  account_number VARCHAR(100) NULL UNIQUE,
  country_id INT NULL,
  created_at TIMESTAMP(0) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMP(0) NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE user_transactions (
  id BIGSERIAL PRIMARY KEY,
  transaction_id VARCHAR(30) NOT NULL UNIQUE,
  user_id BIGINT NOT NULL,
  user_type VARCHAR(20) NOT NULL DEFAULT 'live' CHECK (user_type IN ('live', 'demo', 'strategy_provider', 'copy_follower')),
  order_id VARCHAR(64) NULL,
  type VARCHAR(20) NOT NULL CHECK (type IN ('deposit', 'withdraw', 'transfer', 'profit', 'loss', 'commission', 'swap', 'adjustment')),
  amount DECIMAL(18,6) NOT NULL,
  balance_before DECIMAL(18,6) NULL,
  balance_after DECIMAL(18,6) NULL,
  status VARCHAR(20) NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'completed', 'failed', 'cancelled')),
  reference_id VARCHAR(64) NULL,
  admin_id INT NULL,
  metadata JSONB NULL,
  created_at TIMESTAMP(0) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMP(0) NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE money_requests (
  id BIGSERIAL PRIMARY KEY,
  request_id VARCHAR(20) NOT NULL UNIQUE,
  user_id BIGINT NOT NULL,
  type VARCHAR(20) NOT NULL CHECK (type IN ('deposit', 'withdraw')),
  amount DECIMAL(12,2) NOT NULL,
  status VARCHAR(20) NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'approved', 'rejected', 'on_hold')),
  admin_id INT NULL,
  approved_at TIMESTAMP(0) NULL,
  transaction_id VARCHAR(30) NULL,
  created_at TIMESTAMP(0) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMP(0) NOT NULL DEFAULT CURRENT_TIMESTAMP
);

-- Without FULL an update has no "before" on the wire, and nothing could tell what changed.
ALTER TABLE live_users REPLICA IDENTITY FULL;
CREATE TRIGGER touch BEFORE UPDATE ON live_users FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE demo_users REPLICA IDENTITY FULL;
CREATE TRIGGER touch BEFORE UPDATE ON demo_users FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE user_transactions REPLICA IDENTITY FULL;
CREATE TRIGGER touch BEFORE UPDATE ON user_transactions FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE money_requests REPLICA IDENTITY FULL;
CREATE TRIGGER touch BEFORE UPDATE ON money_requests FOR EACH ROW EXECUTE FUNCTION touch();
