-- One plan, applied whole or not at all. The guard's rule is position.compare; a test proves the two equal.
--
-- KEYS  guard, [config], [balance], [a hash to update only if it exists], removed..., cleared...
-- ARGV  1 guard's field   2 mode   3 epoch  4 origin  5 lineage  6 order  7 ts_ms  8 topic  9 partition  10 offset
--       11 lineage gap ms   12 seconds the guard outlives a deleted user
--       13 balance's TTL or ''   14 balance
--       15 to 19 how many: changed, whole, update (fields and values each count), removed keys, messages (two each)
--       20 '1' to keep the update's fields beside the version   21 extent: whole, changed or part
--       22 share: '' for the whole plan; on a cluster a script reaches one slot only, so there 'state' is what lies in
--          the guard's slot, 'beside' a balance in a slot of its own with a guard of its own, 'tell' the messages
--       23... changed, whole, update, channel and body of each message (no body: that of the message before), fields
--          that a rebuilt hash must not have
--       The order of a version compares as text: its numbers are padded, for a number here has only 53 bits.
-- In the guard, beside the version of each table: '+field' of a linked table, kept for a hash that is made later;
-- '!table' the mark of a change that could not be applied; '>table' how many messages of a version went out, and on a
-- cluster also that what follows from its state is not yet done.
-- A plan of extent changed leaves the whole out: most often the hash is there. Where it is not, the reply is 'absent',
-- nothing was done, and the plan comes again with it.
-- Reply  verdict, config (-1 none, 0 updated, 1 created), update (-1 none, 0 absent, 1 updated),
--        keys cleared, subscribers reached, the version that stood there or '', how much a fill or a rebuild changed
--        for 'state', where the rest is due: the mode in which, and '1' if it was due before

local guard, field, mode = KEYS[1], ARGV[1], ARGV[2]
local epoch, origin, lineage, order, ts = tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])
local topic, partition, offset, gap = ARGV[8], ARGV[9], tonumber(ARGV[10]), tonumber(ARGV[11])

local function comparable(one, other)
  if one == other then return true end
  local kind, server = string.match(one, '^([^:]*):(.*)$')
  local other_kind, other_server = string.match(other, '^([^:]*):(.*)$')
  return kind == other_kind and (server == '0' or other_server == '0')
end

local function own_place(of) return string.match(of, '[^/]*$') end

-- Of two versions one or both of which are a row that was read in the database itself.
local function beside_a_read(s_origin, s_order, s_ts, clearly_later)
  local place, s_place = order, s_order
  if string.sub(lineage, 1, 11) == 'postgresql:' then place, s_place = own_place(order), own_place(s_order) end
  if place > s_place then return 'newer' end
  if place < s_place then return clearly_later and origin ~= 'q' and 'new_lineage' or 'stale' end
  if origin == s_origin then return ts == s_ts and 'duplicate' or ts > s_ts and 'newer' or 'stale' end
  if s_origin == 'q' then return origin == 'r' and 'duplicate' or 'newer' end
  return s_origin == 'r' and 'newer' or 'stale'
end

local function verdict(stored)
  if not stored then return 'newer' end
  local s_epoch, s_origin, s_lineage, s_order, s_ts, s_topic, s_partition, s_offset =
    string.match(stored, '^(%d+)|(%a)|([^|]*)|([^|]*)|(%d+)|([^|]*)|(%d+)|(%d+)')
  if not s_epoch then return nil end
  s_epoch, s_ts, s_offset = tonumber(s_epoch), tonumber(s_ts), tonumber(s_offset)
  if epoch ~= s_epoch then return epoch > s_epoch and 'newer' or 'stale' end
  local clearly_later = ts > s_ts + gap
  if origin == 'q' or s_origin == 'q' then
    if comparable(lineage, s_lineage) then return beside_a_read(s_origin, s_order, s_ts, clearly_later) end
    return clearly_later and 'new_lineage' or 'stale'
  end
  local same_partition = topic == s_topic and partition == s_partition
  local lies_later = same_partition and offset > s_offset
  local lies_earlier = same_partition and offset < s_offset
  local clearly_earlier = s_ts > ts + gap
  local pair = origin .. s_origin
  if same_partition and (string.find(pair, 'i', 1, true) or pair == 'fr' or pair == 'rf') then
    if offset == s_offset then return 'duplicate' end
    return lies_later and 'newer' or 'stale'
  end
  if comparable(lineage, s_lineage) then
    local is_same_change = string.find(pair, 'f', 1, true) and own_place(order) == own_place(s_order)
    if order > s_order and not is_same_change then return lies_earlier and clearly_earlier and 'stale' or 'newer' end
    if order == s_order and lies_later and string.find(pair, 'r', 1, true) then return 'newer' end
    if lies_later and clearly_later then return 'new_lineage' end
    return (order == s_order or is_same_change) and 'duplicate' or 'stale'
  end
  if same_partition then
    if offset == s_offset then return 'duplicate' end
    return lies_later and 'new_lineage' or 'stale'
  end
  return clearly_later and 'new_lineage' or 'stale'
end

local known = redis.pcall('HMGET', guard, field, '!' .. field, '>' .. field)
if known.err then return known end
-- The version as it is kept; without its offset a change is the same in every copy that Debezium sent of it.
local change = table.concat({ARGV[3], origin, lineage, order, ARGV[7], topic, partition}, '|') .. '|'
local stored, mark, told = known[1], known[2], known[3]
local share = ARGV[22]
local told_of = told and string.match(told, '|(.*)$') or ''
local was_due = share ~= '' and string.sub(told_of, 1, #change) == change

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
  local are_all_sent, failure = pcall(send, 23, #ARGV - 1)
  if not are_all_sent then
    redis.call('HSET', guard, '>' .. field, gone .. '|' .. told_of)
    return redis.error_reply(type(failure) == 'table' and failure.err or tostring(failure))
  end
  redis.call('HDEL', guard, '>' .. field)
  return reached
end

if mode == 'mark' then
  local s_topic, s_partition, s_offset = string.match(stored or '', '|([^|]*)|(%d+)|(%d+)|?d?$')
  local text = table.concat({topic, partition, ARGV[10]}, '|')
  if s_topic == topic and s_partition == partition and tonumber(s_offset) > offset then
    return {'stale', -1, -1, 0, 0, stored, 0}
  elseif mark == text then
    return {'duplicate', -1, -1, 0, 0, stored or '', 0}
  end
  redis.call('HSET', guard, '!' .. field, text)
  -- Of a deleted user the version goes one day, and the mark with it.
  if not stored or string.sub(stored, -2) ~= '|d' then redis.call('PERSIST', guard) end
  return {'newer', -1, -1, 0, 0, stored or '', 0}
end

-- A mark of a later record is not this plan's to heal.
local m_topic, m_partition, m_offset = string.match(mark or '', '^(.*)|(%d+)|(%d+)$')
if m_topic == topic and m_partition == partition and tonumber(m_offset) > offset then mark = nil end

local said = verdict(stored)
if not said then return redis.error_reply('GUARD the version of ' .. field .. ' in ' .. guard .. ' is not readable') end
local deleted = stored and string.sub(stored, -2) == '|d'
-- Rebuilding writes the change that stands there again, for that heals what others did to it since.
local is_again = mode == 'rebuild' and said == 'duplicate' and string.sub(stored, 1, #change) == change
local refused = said == 'stale' or said == 'duplicate' and not is_again
-- What an incremental read says may be older than what a change wrote that is not in the log any more.
if mode == 'rebuild' and origin == 'i' and not is_again then mode = 'fill' end
-- An operator's new epoch makes a snapshot's reads authoritative.
if mode == 'fill' and stored and epoch > tonumber(string.match(stored, '^(%d+)')) then mode = 'change' end
-- A user who is marked is healed by any whole image.
if mode == 'fill' and mark and not deleted and ARGV[21] == 'whole' then mode = 'change' end
-- Of a linked table's many rows the last one read counts, as long as only reads stand there.
if mode == 'fill' and ARGV[20] ~= '' and said == 'newer' and stored and string.match(stored, '^%d+|(%a)') == 'i' then
  mode = 'change'
end
if mode == 'fill' then
  if deleted then said = 'stale' end
  refused = said == 'stale'
end
if refused and was_due and said == 'duplicate' then
  return {'newer', ARGV[15] + ARGV[16] > 0 and 0 or -1, tonumber(ARGV[17]) > 0 and 1 or -1, 0, 0, stored, 1, mode, '1'}
end
if refused then return {said, -1, -1, 0, 0, stored or '', 0} end
if mark and ARGV[21] == 'changed' then return {'unhealed', -1, -1, 0, 0, stored or '', 0} end

local changed, whole, updated = tonumber(ARGV[15]), tonumber(ARGV[16]), tonumber(ARGV[17])
local removed, messages = tonumber(ARGV[18]), tonumber(ARGV[19])
local next_key = 2
local function take(wanted)
  if not wanted then return nil end
  next_key = next_key + 1
  return KEYS[next_key - 1]
end
local config, balance, update = take(changed + whole > 0), take(ARGV[13] ~= ''), take(updated > 0)
local first_removed = next_key

-- A key of the wrong type is found before anything is written, for a script is not rolled back.
local function kind_of(key) return key and redis.call('TYPE', key).ok end
local function is_other(kind) return kind and kind ~= 'hash' and kind ~= 'none' end
local config_kind, update_kind = kind_of(config), kind_of(update)
-- Fields that are kept beside the version wait there until the hash is made.
if ARGV[20] ~= '' and is_other(update_kind) then update_kind = 'none' end
if is_other(config_kind) then return redis.error_reply('WRONGTYPE ' .. config .. ' is no hash') end
if is_other(update_kind) then return redis.error_reply('WRONGTYPE ' .. update .. ' is no hash') end
local config_exists, update_exists = config_kind == 'hash', update_kind == 'hash'
if config and not config_exists and whole == 0 and ARGV[21] == 'changed' then
  return {'absent', -1, -1, 0, 0, stored or '', 0}
end

local at_changed = 23
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
  if ARGV[20] ~= '' and not stored then keep() end
  if update_exists then
    for i = at_updated, at_messages - 1, 2 do
      filled = filled + redis.call('HSETNX', update, ARGV[i], ARGV[i + 1])
    end
  end
  if balance and redis.call('SET', balance, ARGV[14], 'EX', ARGV[13], 'NX') then filled = filled + 1 end
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
  if balance_kind == 'string' and redis.call('GET', balance) ~= ARGV[14] then found = found + 1 end
  if balance_kind and balance_kind ~= 'string' and balance_kind ~= 'none' then found = found + 1 end
  if update_exists then
    local is_linked = ARGV[20] ~= ''
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
  if balance then redis.call('SET', balance, ARGV[14], 'EX', ARGV[13]) end
  if update_exists then redis.call('HSET', update, unpack(ARGV, at_updated, at_messages - 1)) end
  if ARGV[20] ~= '' then keep() end
  if removed > 0 then forget_kept() end
end

-- What lies in other slots is not done yet, nor are the messages sent.
local function owe()
  if share == 'state' then redis.call('HSET', guard, '>' .. field, '0|' .. change .. ARGV[10]) end
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
local version = is_again and string.gsub(stored, '|d$', '') or change .. ARGV[10]
version = version .. (removed > 0 and '|d' or '')
local others = false -- whether another table's version stands here
for _, name in ipairs(ARGV[20] ~= '' and redis.call('HKEYS', guard) or {}) do
  if not string.find(name, '^[+!>]') and name ~= field then others = true end
end
if share == '' and told_of == version then gone = tonumber(string.match(told, '^%d+')) end
-- A version without a lineage is only a wish not to meet any: of a user whom the log does not know.
local taken = lineage ~= '' and redis.pcall('HSET', guard, field, version)
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
if mark and ARGV[21] == 'whole' then redis.call('HDEL', guard, '!' .. field) end
if share == 'state' then
  owe()
elseif told then
  redis.call('HDEL', guard, '>' .. field)
end
if share == 'beside' then
  redis.call('EXPIRE', guard, ARGV[12])
elseif removed > 0 then
  redis.call('EXPIRE', guard, ARGV[12])
elseif deleted or (config and ARGV[21] ~= 'part' and not (config_exists and stored)) then
  redis.call('PERSIST', guard)
elseif ARGV[20] ~= '' and not update_exists and not stored and not others then
  -- Of a user who is not there, and may never be.
  redis.call('EXPIRE', guard, ARGV[12])
end
return reply
