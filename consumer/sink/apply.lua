-- One plan, applied whole or not at all. The guard's rule is compare in guard/version.py; a test proves the two equal.
--
-- KEYS  guard, [config], [balance], [a hash to update only if it exists], removed..., cleared...
-- ARGV  1 guard's field   2 mode   3 version   4 '' or '=' and the version that must stand there, '=' alone for none
--       5 seconds the guard outlives a deleted user   6 balance's TTL or ''   7 balance
--       8 to 12 how many: changed, whole, update (fields and values each count), removed keys, messages (two each)
--       13 '1' to keep the update's fields beside the version   14 extent: whole, changed or part
--       15 share: '' for the whole plan; on a cluster a script reaches one slot only, so there 'state' is what lies in
--          the guard's slot, 'beside' a balance in a slot of its own with a guard of its own, 'tell' the messages
--       16... changed, whole, update, channel and body of each message (no body: that of the message before), fields
--          that a rebuilt hash must not have
-- In the guard, beside the version of each table: '+field' of a linked table, kept for a hash that is made later;
-- '!table' the mark of a change that could not be applied; '>table' how many messages of a version went out, and on a
-- cluster also that what follows from its state is not yet done.
-- A plan of extent changed leaves the whole out: most often the hash is there. Where it is not, the reply is 'absent',
-- nothing was done, and the plan comes again with it.
-- Reply  verdict, config (-1 none, 0 updated, 1 created), update (-1 none, 0 absent, 1 updated),
--        keys cleared, subscribers reached, the version that stood there or '', how much a fill or a rebuild changed
--        for 'state', where the rest is due: the mode in which, and '1' if it was due before

local guard, field, mode, version, share = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[15]

-- Epoch, origin, time written, source's time, topic and partition, offset. Version 0.1 did not keep the time written.
local function parsed(text)
  local epoch, origin, written, ts, partition, offset =
    string.match(text, '^(%d+)|(%a)|([^|]*)|[^|]*|(%d+)|([^|]*|%d+)|(%d+)')
  if not epoch then return nil end
  return {epoch = tonumber(epoch), origin = origin, written = tonumber(string.match(written, '^t:(%d+)$') or ts),
    ts = tonumber(ts), partition = partition, offset = tonumber(offset)}
end

local function compare(new, old)
  if new.epoch ~= old.epoch then return new.epoch > old.epoch and 'newer' or 'stale' end
  if new.partition ~= old.partition then
    local is_later = new.written > old.written or new.written == old.written and new.ts > old.ts
    return is_later and 'newer' or 'stale'
  end
  if new.offset > old.offset or new.written > old.written and new.ts > old.ts then return 'newer' end
  return new.offset == old.offset and 'duplicate' or 'stale'
end

local function is_of(text, new)
  local old = parsed(text)
  return old and old.partition == new.partition and old.offset == new.offset
end

local known = redis.pcall('HMGET', guard, field, '!' .. field, '>' .. field)
if known.err then return known end
local stored, mark, told = known[1], known[2], known[3]
local change = parsed(version)
local before = stored and parsed(stored)
local told_of = told and string.match(told, '|(.*)$') or ''
local was_due = share ~= '' and is_of(told_of, change)

local gone, reached = 0, 0 -- messages of this plan that went out, ever; whom they reached now

-- Sends those from ARGV[first] to ARGV[last] that did not go out before.
local function send(first, last)
  local from, body = first + 2 * gone, nil
  for i = first, last, 2 do
    if ARGV[i + 1] ~= '' then body = ARGV[i + 1] end
    if i >= from then
      reached = reached + redis.call('PUBLISH', ARGV[i], body)
      gone = gone + 1
    end
  end
end

if share == 'tell' then
  if not was_due then return 0 end
  gone = tonumber(string.match(told, '^%d+'))
  local are_all_sent, failure = pcall(send, 16, #ARGV - 1)
  if not are_all_sent then
    redis.call('HSET', guard, '>' .. field, gone .. '|' .. told_of)
    return redis.error_reply(type(failure) == 'table' and failure.err or tostring(failure))
  end
  redis.call('HDEL', guard, '>' .. field)
  return reached
end

if mode == 'mark' then
  local text = change.partition .. '|' .. string.format('%.0f', change.offset)
  if before and before.partition == change.partition and before.offset > change.offset then
    return {'stale', -1, -1, 0, 0, stored, 0}
  elseif mark == text then
    return {'duplicate', -1, -1, 0, 0, stored or '', 0}
  end
  redis.call('HSET', guard, '!' .. field, text)
  -- A deleted user's guard goes when its time is over.
  if not (stored and string.sub(stored, -2) == '|d') then redis.call('PERSIST', guard) end
  return {'newer', -1, -1, 0, 0, stored or '', 0}
end

-- A mark of a later record is not this plan's to heal.
local m_partition, m_offset = string.match(mark or '', '^(.*|%d+)|(%d+)$')
if m_partition == change.partition and tonumber(m_offset) > change.offset then mark = nil end

if stored and not before then
  return redis.error_reply('GUARD the version of ' .. field .. ' in ' .. guard .. ' is not readable')
end
local said = 'newer'
if ARGV[4] ~= '' then
  -- What was read in the database is right as long as no change came since.
  said = ARGV[4] ~= '=' .. (stored or '') and 'stale' or stored and 'duplicate' or 'newer'
elseif stored then
  said = compare(change, before)
end
local deleted = stored and string.sub(stored, -2) == '|d'
-- Rebuilding writes the change that stands there again, for that heals what others did to it since.
local is_again = mode == 'rebuild' and said == 'duplicate'
-- What a change has begun elsewhere, and has yet to tell, it finishes itself.
if is_again and was_due then said, is_again = 'stale', false end
local refused = said == 'stale' or said == 'duplicate' and not is_again
-- What an incremental read says may be older than what a change wrote that is not in the log any more.
if mode == 'rebuild' and change.origin == 'i' and not is_again then mode = 'fill' end
-- An operator's new epoch makes a snapshot's reads authoritative.
if mode == 'fill' and stored and change.epoch > before.epoch then mode = 'change' end
-- A user who is marked is healed by any whole image.
if mode == 'fill' and mark and not deleted and ARGV[14] == 'whole' then mode = 'change' end
-- Of a linked table's many rows the last one read counts, as long as only reads stand there.
if mode == 'fill' and ARGV[13] ~= '' and said == 'newer' and stored and before.origin == 'i' then mode = 'change' end
if mode == 'fill' then
  if deleted then said = 'stale' end
  refused = said == 'stale'
end
if refused and was_due and said == 'duplicate' then
  return {'newer', ARGV[8] + ARGV[9] > 0 and 0 or -1, tonumber(ARGV[10]) > 0 and 1 or -1, 0, 0, stored, 1, mode, '1'}
end
if refused then return {said, -1, -1, 0, 0, stored or '', 0} end
if mark and ARGV[14] == 'changed' then return {'unhealed', -1, -1, 0, 0, stored or '', 0} end

local changed, whole, updated = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local removed, messages = tonumber(ARGV[11]), tonumber(ARGV[12])
local next_key = 2
local function take(wanted)
  if not wanted then return nil end
  next_key = next_key + 1
  return KEYS[next_key - 1]
end
local config, balance, update = take(changed + whole > 0), take(ARGV[6] ~= ''), take(updated > 0)
local first_removed = next_key

-- A key of the wrong type is found before anything is written, for a script is not rolled back.
local function kind_of(key) return key and redis.call('TYPE', key).ok end
local function is_other(kind) return kind and kind ~= 'hash' and kind ~= 'none' end
local config_kind, update_kind = kind_of(config), kind_of(update)
-- Fields that are kept beside the version wait there until the hash is made.
if ARGV[13] ~= '' and is_other(update_kind) then update_kind = 'none' end
if is_other(config_kind) then return redis.error_reply('WRONGTYPE ' .. config .. ' is no hash') end
if is_other(update_kind) then return redis.error_reply('WRONGTYPE ' .. update .. ' is no hash') end
local config_exists, update_exists = config_kind == 'hash', update_kind == 'hash'
if config and not config_exists and whole == 0 and ARGV[14] == 'changed' then
  return {'absent', -1, -1, 0, 0, stored or '', 0}
end

local at_changed = 16
local at_whole = at_changed + changed
local at_updated = at_whole + whole
local at_messages = at_updated + updated
local at_gone = at_messages + messages
local reply = {said, config and (config_exists and 0 or whole > 0 and 1) or -1,
  update and (update_exists and 1 or 0) or -1,
  0, 0, stored or '', 0}
if share == 'state' then reply[8], reply[9] = mode, was_due and '1' or '' end

-- Fields of linked tables are kept beside the version with a '+' before their name, for a hash that is made later.
local function with_kept()
  local known = redis.call('HGETALL', guard)
  for i = 1, #known, 2 do
    if string.sub(known[i], 1, 1) == '+' then redis.call('HSETNX', config, string.sub(known[i], 2), known[i + 1]) end
  end
end

local function keep()
  for i = at_updated, at_messages - 1, 2 do redis.call('HSET', guard, '+' .. ARGV[i], ARGV[i + 1]) end
end

local function forget_kept()
  for _, name in ipairs(redis.call('HKEYS', guard)) do
    if string.sub(name, 1, 1) == '+' then redis.call('HDEL', guard, name) end
  end
end

local function fill()
  local filled = 0
  for i = at_whole, at_updated - 1, 2 do
    filled = filled + redis.call('HSETNX', config, ARGV[i], ARGV[i + 1])
  end
  if whole > 0 and not config_exists then with_kept() end
  if ARGV[13] ~= '' and not stored then keep() end
  if update_exists then
    for i = at_updated, at_messages - 1, 2 do
      filled = filled + redis.call('HSETNX', update, ARGV[i], ARGV[i + 1])
    end
  end
  if balance and redis.call('SET', balance, ARGV[7], 'EX', ARGV[6], 'NX') then filled = filled + 1 end
  return filled
end

local function count_others(key, from, to, counts)
  local names, wanted = {}, {}
  for i = from, to, 2 do
    if counts(ARGV[i]) then names[#names + 1], wanted[#wanted + 1] = ARGV[i], ARGV[i + 1] end
  end
  local others = 0
  for i, value in ipairs(#names > 0 and redis.call('HMGET', key, unpack(names)) or {}) do
    if value ~= wanted[i] then others = others + 1 end
  end
  return others
end

-- How much of what a rebuild writes is not there yet; the times of changes count for nothing. A balance that has
-- expired is no difference, nor is a portfolio that is not there.
local function differences()
  local found, owned = 0, {}
  for i = at_changed, at_whole - 1, 2 do owned[ARGV[i]] = true end
  if config and config_exists then
    found = count_others(config, at_changed, at_whole - 1, function() return true end)
    for i = at_gone, #ARGV do found = found + redis.call('HEXISTS', config, ARGV[i]) end
  elseif whole > 0 then
    found = 1
  end
  local balance_kind = kind_of(balance)
  if balance_kind == 'string' and redis.call('GET', balance) ~= ARGV[7] then found = found + 1 end
  if balance_kind and balance_kind ~= 'string' and balance_kind ~= 'none' then found = found + 1 end
  if update_exists then
    local is_linked = ARGV[13] ~= ''
    found = found + count_others(update, at_updated, at_messages - 1,
      function(name) return is_linked or owned[name] end)
  end
  for i = first_removed, first_removed + removed - 1 do found = found + redis.call('EXISTS', KEYS[i]) end
  return found
end

local function write()
  if config then
    if config_exists then
      redis.call('HSET', config, unpack(ARGV, at_changed, at_whole - 1))
      -- Times of changes too, which stand in the whole image alone.
      if mode == 'rebuild' and whole > 0 then redis.call('HSET', config, unpack(ARGV, at_whole, at_updated - 1)) end
      for i = at_gone, #ARGV do redis.call('HDEL', config, ARGV[i]) end
    elseif whole > 0 then
      redis.call('HSET', config, unpack(ARGV, at_whole, at_updated - 1))
      with_kept()
    end
  end
  if balance then redis.call('SET', balance, ARGV[7], 'EX', ARGV[6]) end
  if update_exists then redis.call('HSET', update, unpack(ARGV, at_updated, at_messages - 1)) end
  if ARGV[13] ~= '' then keep() end
  if removed > 0 then forget_kept() end
end

-- What lies in other slots is not done yet, nor are the messages sent.
local function owe()
  if share == 'state' then redis.call('HSET', guard, '>' .. field, '0|' .. version) end
end

local function clear_and_tell()
  -- In slices: a script's stack holds some 8,000 values.
  for i = first_removed, #KEYS, 1000 do
    reply[4] = reply[4] + redis.call('UNLINK', unpack(KEYS, i, math.min(i + 999, #KEYS)))
  end
  send(at_messages, at_messages + messages - 1)
  reply[5] = reached
end

if mode == 'fill' and stored then
  reply[7] = fill()
  if reply[7] > 0 then clear_and_tell() else reply[1] = 'duplicate' end
  owe()
  return reply
end

if mode == 'rebuild' then
  reply[7] = differences()
  if is_again and reply[7] == 0 and not mark then
    owe()
    return reply
  end
  if is_again then reply[1] = 'healed' end
end

-- The guard goes first: where memory is short, it is this write that is refused, with nothing written yet. If a later
-- step fails all the same the old guard is put back, so that the plan counts as not applied and can be tried again.
local kept = (is_again or ARGV[4] ~= '') and string.gsub(stored or '', '|d$', '') or version
if kept ~= '' and removed > 0 then kept = kept .. '|d' end
local others = false -- whether another table's version stands here
for _, name in ipairs(ARGV[13] ~= '' and redis.call('HKEYS', guard) or {}) do
  if not string.find(name, '^[+!>]') and name ~= field then others = true end
end
if share == '' and is_of(told_of, change) then gone = tonumber(string.match(told, '^%d+')) end
-- Of a user of whom no record was applied there is no version to keep.
local taken = kept ~= '' and redis.pcall('HSET', guard, field, kept)
if type(taken) == 'table' and taken.err then return taken end
local ok, failure = pcall(function()
  if mode == 'fill' then reply[7] = fill() else write() end
  if mode ~= 'rebuild' or reply[7] > 0 then clear_and_tell() end
end)
if not ok then
  if stored then redis.call('HSET', guard, field, stored) else redis.call('HDEL', guard, field) end
  -- Messages that went out do not go out again when the plan is tried again.
  if gone > 0 then redis.call('HSET', guard, '>' .. field, gone .. '|' .. version) end
  return redis.error_reply(type(failure) == 'table' and failure.err or tostring(failure))
end
if mark and ARGV[14] == 'whole' then redis.call('HDEL', guard, '!' .. field) end
if share == 'state' then
  owe()
elseif told and not is_again then
  redis.call('HDEL', guard, '>' .. field)
end
if share == 'beside' then
  redis.call('EXPIRE', guard, ARGV[5])
elseif removed > 0 then
  redis.call('EXPIRE', guard, ARGV[5])
elseif deleted or (config and ARGV[14] ~= 'part' and not (config_exists and stored)) then
  redis.call('PERSIST', guard)
elseif ARGV[13] ~= '' and not update_exists and not stored and not others then
  -- Of a user who is not there, and may never be.
  redis.call('EXPIRE', guard, ARGV[5])
end
return reply
