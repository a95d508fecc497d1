-- Applies one plan, whole or not at all. The guard's rule is compare in guard/version.py; a test proves the two equal.
--
-- KEYS  guard, [config], [balance], [a hash to update only if it exists], streams..., removed..., cleared...
-- ARGV  1 the plan's shape: JSON text, parsed once and kept   2 version
--       3 '' or '=' and the version that must stand in the guard, '=' alone for none; or '<' and an offset: a rebuild
--         has read its partition up to there, and has seen every version below; or '-': the record of a dead letter
--       4... values; the shape names them by number, from 1
-- The shape
--       table, mode, extent (whole, changed or part)
--       part: '' for the whole plan. On a cluster a script reaches one slot only. There 'version_slot' is what lies in the
--         guard's slot, 'other_slot' a balance in another slot, with a guard of its own, 'messages' the messages
--       changed, whole, update: field, number of its value, ...   gone: fields that a rebuilt hash must not have
--       balance: number of its value, ttl: seconds   removed: how many keys   keep: the update's fields go to the guard
--       messages: channel, number of its body, ...   guard_ttl: seconds the guard outlives a deleted user
--       streams: for each message the number of its stream's key (0 none) and MAXLEN; absent without streams. A message
--         without a channel was published before, and is only added. event_id: number of its value; the user is next
-- In the guard, beside the version of each table: '+field' of a linked table, kept for a hash that is made later;
-- '!table' the mark of a change that could not be applied; '>table' how many messages of a version were sent, and on a
-- cluster also that the keys in other slots are still to be written. '1+3|…': one message was sent, and the next one was
-- published to three subscribers, but could not be added to its stream.
-- A plan of extent changed comes without the whole image, for the hash most often exists. If it does not, the reply is
-- 'absent', nothing was done, and the plan comes again with the image.
-- Reply  a change that was applied to a hash that existed, or to a balance in another slot: one number, of the
--        subscribers reached, the keys cleared and the update (0 absent, 1 updated, 2 none). For 'version_slot' the rest
--        is still to be done, and was not before this call
--        else: verdict, config (-1 none, 0 updated, 1 created), update (-1 none, 0 absent, 1 updated), keys cleared,
--        subscribers reached, the version before or '', how much a fill or a rebuild changed;
--        for 'version_slot', if the rest is still to be done: the mode, and '1' if it was so before this call

local VALUES = 3 -- the value with number 1 is the argument behind this one
local MOST_SHAPES = 1000
local MOST_CLEARED = 100000 -- the usual reply is one number, which has no room for more; call.py has the same number
local MOST_UNPACKED = 1000 -- a script's stack holds some 8,000 values

-- Local names, because a global costs a look-up in two tables. They are set by the first call: while a library is loaded
-- there are no such globals.
local call, attempt, protected, match, find, sub, spread, type_of

-- What the functions below share; set anew at each call.
local keys, args, shape, guard, field, version, mode
local stored, mark, pending -- what the guard holds
local candidate, before, deleted, pending_version, was_due, said -- set by judge
local config, balance, update, config_exists, update_exists -- set by find_keys
local is_again -- a rebuild writes the version that stands there once more
local is_taken -- the guard has the new version, and the plan is not yet carried out
local differed, sent, reached, cleared
local told -- subscribers that a message reached which is not in its stream yet
local shapes, kept_shapes = {}, 0
-- Where the last version that was taken apart has its topic, and its epoch; see is_next.
local place, epoch = 1, ''

-- The functions are made within a function, because EVALSHA makes them anew at each call. Lua finds the variables above
-- at once for them. If the functions stood at the top, Lua would search all variables for each one that they use, which
-- takes 10 microseconds more.
local apply = (function()

---- Two versions ----

-- Epoch, origin, time written, source's time, topic and partition, offset. Version 0.1 did not keep the time written.
local VERSION = '^(%d+)|(%a)|t:(%d+)|[^|]*|(%d+)|([^|]*|%d+)|(%d+)'
local OLD_VERSION = '^(%d+)|(%a)|[^|]*|[^|]*|((%d+))|([^|]*|%d+)|(%d+)'

local function parsed(text)
  local epoch, origin, written, ts, partition, offset = match(text, VERSION)
  if not epoch then
    epoch, origin, written, ts, partition, offset = match(text, OLD_VERSION)
    if not epoch then return nil end
  end
  return {epoch = tonumber(epoch), origin = origin, written = tonumber(written), ts = tonumber(ts),
    partition = partition, offset = tonumber(offset)}
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

-- Most changes are the next change of their partition. This check is much cheaper than compare, and answers true only
-- if compare answers 'newer'. Nearly all versions have the same epoch, and their topics begin at the same place. Of the
-- stored text only its begin and its end are compared: the epoch, and topic, partition and a number, which is the offset.
-- The version of a deleted user does not end with a number.
local END = '^(|[^|]*|%d+|)(%d+)$'

local function is_next()
  local partition, offset = match(version, END, place)
  if not partition or sub(version, 1, #epoch) ~= epoch then
    epoch, place = match(version, '^(%d+|)%a|[^|]*|[^|]*|%d+()|')
    partition, offset = match(version, END, place)
  end
  local last = place + #partition
  if sub(stored, 1, #epoch) ~= epoch then return false end
  if sub(stored, place, last - 1) ~= partition then return false end
  local old = match(stored, '^%d+$', last)
  return old and (#offset > #old or #offset == #old and offset > old)
end

local function is_of(text, new)
  local old = parsed(text)
  return old and old.partition == new.partition and old.offset == new.offset
end

---- Replies ----

-- The reply of a plan of which nothing was carried out but, at most, a mark.
local function plain_reply(verdict) return {verdict, -1, -1, 0, 0, stored or '', 0} end

local function error_of(failure)
  return redis.error_reply(type(failure) == 'table' and failure.err or tostring(failure))
end

-- The reply of a plan that the guard does not accept.
local function refusal()
  if was_due and said == 'duplicate' then
    return {'newer', shape.config and 0 or -1, shape.update_key and 1 or -1, 0, 0, stored, 1, mode, '1'}
  end
  return plain_reply(said)
end

local function answer()
  local has_state = config_exists or shape.part == 'other_slot'
  local is_usual = mode == 'change' and said == 'newer' and has_state and not differed and not was_due
  if is_usual and cleared < MOST_CLEARED then
    return (reached * MOST_CLEARED + cleared) * 3 + (update and (update_exists and 1 or 0) or 2)
  end
  local found = {said, config and (config_exists and 0 or #shape.whole > 0 and 1) or -1,
    update and (update_exists and 1 or 0) or -1, cleared, reached, stored or '', differed or 0}
  if shape.part == 'version_slot' then found[8], found[9] = mode, was_due and '1' or '' end
  return found
end

---- The guard ----

local function read_guard()
  local known = call('HMGET', guard, field, shape.mark, shape.pending)
  stored, mark, pending = known[1], known[2], known[3]
end

-- Whether this is the next change of its partition, and nothing about the user needs care.
local function is_usual()
  return stored and not mark and not pending and args[3] == '' and is_next()
end

local function parse_pending()
  pending_version = pending and match(pending, '|(.*)$') or ''
  was_due = pending and shape.part ~= '' and (pending_version == version or is_of(pending_version, parsed(version)))
end

local function parse_versions()
  candidate, before, deleted = parsed(version), stored and parsed(stored), stored and sub(stored, -2) == '|d'
  parse_pending()
end

-- What the guard says to the plan.
local function verdict()
  local condition = args[3]
  if sub(condition, 1, 1) == '=' then
    -- What was read in the database is right as long as no change came since.
    return condition ~= '=' .. (stored or '') and 'stale' or stored and 'duplicate' or 'newer'
  end
  if not stored then return 'newer' end
  if condition == '-' and candidate.epoch == before.epoch
    and candidate.written < before.written and candidate.ts < before.ts then
    return 'stale' -- maybe from before its topic was created again, and then its offset says nothing
  end
  local found = compare(candidate, before)
  local known_below = found == 'stale' and tonumber(match(condition, '^<(%d+)'))
  if known_below and shape.removed == 0 and before.epoch == candidate.epoch and before.partition == candidate.partition
    and before.offset < known_below then
    -- What the rebuild has read contains the record whose version stands there. A change overwrites a row that was read
    -- in the database. If the hash does not exist, nothing can be lost.
    local is_missing = #shape.whole > 0 and call('EXISTS', keys[2]) == 0
    if before.origin == 'i' or is_missing then return 'duplicate' end
  end
  return found
end

local function judge()
  parse_versions()
  if mark then
    -- A mark of a later record is not this plan's to heal.
    local partition, offset = match(mark, '^(.*|%d+)|(%d+)$')
    if partition == candidate.partition and tonumber(offset) > candidate.offset then mark = nil end
  end
  if stored and not before then
    error({err = 'GUARD the version of ' .. field .. ' in ' .. guard .. ' is not readable'})
  end
  said = verdict()
end

-- On a cluster: what lies in other slots is still to be written, and the messages are still to be sent.
local function note_rest()
  if shape.part == 'version_slot' then call('HSET', guard, shape.pending, '0|' .. version) end
end

-- The guard is written first: where memory is short, it is this write that is refused, with nothing written yet.
local function take_guard()
  local new = version
  if is_again or args[3] ~= '' and sub(args[3], 1, 1) == '=' then new = string.gsub(stored or '', '|d$', '') end
  if new ~= '' and shape.removed > 0 then new = new .. '|d' end
  if pending and shape.part == '' and is_of(pending_version, candidate) then
    sent, told = tonumber(match(pending, '^%d+')), tonumber(match(pending, '^%d+%+(%d+)|'))
  end
  -- Of a user of whom no record was applied there is no version to keep.
  if new ~= '' then call('HSET', guard, field, new) end
  is_taken = true
end

-- After a failure the old guard is put back, so that the plan counts as not applied and can be tried again. Messages
-- that were sent are not sent again then.
local function put_guard_back()
  if stored then call('HSET', guard, field, stored) else call('HDEL', guard, field) end
  if sent > 0 or told then
    call('HSET', guard, shape.pending, sent .. (told and '+' .. told or '') .. '|' .. version)
  end
end

local function has_other_table()
  for _, name in ipairs(call('HKEYS', guard)) do
    if not find(name, '^[+!>]') and name ~= field then return true end
  end
  return false
end

local function set_expiry(has_others)
  if shape.part == 'other_slot' or shape.removed > 0 then
    call('EXPIRE', guard, shape.guard_ttl)
  elseif deleted or (config and shape.extent ~= 'part' and not (config_exists and stored)) then
    call('PERSIST', guard)
  elseif shape.keep and not update_exists and not stored and not has_others then
    -- Of a user who is not there, and may never be.
    call('EXPIRE', guard, shape.guard_ttl)
  end
end

-- Carries out a plan that the guard accepts: the guard, then ``work``, which writes, clears and sends.
local function carry_out(work)
  local has_others = shape.keep and has_other_table()
  take_guard()
  work()
  is_taken = false
  if mark and shape.extent == 'whole' then call('HDEL', guard, shape.mark) end
  if shape.part == 'version_slot' then
    note_rest()
  elseif pending and not is_again then
    call('HDEL', guard, shape.pending)
  end
  set_expiry(has_others)
  return answer()
end

---- The user's keys ----

local function kind_of(key) return call('TYPE', key).ok end

-- Whether the hash at ``key`` exists. A key of the wrong type is found before anything is written, for a script is not
-- rolled back.
local function hash_exists(key, may_be_other)
  if not key then return false end
  local kind = kind_of(key)
  if kind ~= 'hash' and kind ~= 'none' and not may_be_other then error({err = 'WRONGTYPE ' .. key .. ' is no hash'}) end
  return kind == 'hash'
end

local function check_streams()
  local streams = shape.streams
  for i = 1, #streams, 2 do
    local key = keys[streams[i]]
    local length = key and attempt('XLEN', key) -- TYPE takes twice as long
    if type_of(length) == 'table' then
      error(find(length.err, 'WRONGTYPE', 1, true) and {err = 'WRONGTYPE ' .. key .. ' is no stream'} or length)
    end
  end
end

local function find_keys()
  config, balance, update = keys[shape.config], keys[shape.balance_key], keys[shape.update_key]
  config_exists = hash_exists(config)
  update_exists = hash_exists(update, shape.keep) -- fields that are kept in the guard wait there until the hash is made
  if shape.streams then check_streams() end
end

-- The reply if the plan can't be carried out as it came; else nothing.
local function more_is_needed()
  if mark and shape.extent == 'changed' then return plain_reply('unhealed') end
  find_keys()
  if config and not config_exists and #shape.whole == 0 and shape.extent == 'changed' then return plain_reply('absent') end
end

-- One table for all calls, because a new table costs more than filling this one. Only the first words are read.
local words = {}

local function set_fields(key, fields)
  local count = #fields
  for i = 1, count, 2 do words[i], words[i + 1] = fields[i], args[VALUES + fields[i + 1]] end
  call('HSET', key, spread(words, 1, count))
end

-- How many of the fields were missing, and are there now.
local function fill_fields(key, fields)
  local count = 0
  for i = 1, #fields, 2 do count = count + call('HSETNX', key, fields[i], args[VALUES + fields[i + 1]]) end
  return count
end

-- How many of the fields have another value; only of those in ``only``, if it is given.
local function count_others(key, fields, only)
  local names, wanted, others = {}, {}, 0
  for i = 1, #fields, 2 do
    if not only or only[fields[i]] then names[#names + 1], wanted[#wanted + 1] = fields[i], args[VALUES + fields[i + 1]] end
  end
  for i, value in ipairs(#names > 0 and call('HMGET', key, spread(names)) or {}) do
    if value ~= wanted[i] then others = others + 1 end
  end
  return others
end

-- Fields of linked tables are kept in the guard with a '+' before their name, for a hash that is made later.
local function set_kept_fields()
  local known = call('HGETALL', guard)
  for i = 1, #known, 2 do
    if sub(known[i], 1, 1) == '+' then call('HSETNX', config, sub(known[i], 2), known[i + 1]) end
  end
end

local function keep_fields()
  local fields = shape.update
  for i = 1, #fields, 2 do call('HSET', guard, '+' .. fields[i], args[VALUES + fields[i + 1]]) end
end

local function forget_kept_fields()
  for _, name in ipairs(call('HKEYS', guard)) do
    if sub(name, 1, 1) == '+' then call('HDEL', guard, name) end
  end
end

-- consumer/sink/streams.py reads the entries, and writes them on a cluster.
local function add(stream, maxlen, body)
  local id, user = args[VALUES + shape.event_id], args[VALUES + shape.event_id + 1]
  if told then
    call('XADD', stream, 'MAXLEN', '~', maxlen, '*', 'event_id', id, 'user', user, 'message', body, 'receivers', told)
  else
    call('XADD', stream, 'MAXLEN', '~', maxlen, '*', 'event_id', id, 'user', user, 'message', body)
  end
end

-- As send, and adds each message to its stream.
local function send_and_add()
  local messages, streams = shape.messages, shape.streams
  for i = 1 + 2 * sent, #messages, 2 do
    local channel, body, stream = messages[i], args[VALUES + messages[i + 1]], keys[streams[i]]
    if channel ~= '' and not told then
      told = call('PUBLISH', channel, body)
      reached = reached + told
    end
    if stream then add(stream, streams[i + 1], body) end
    sent, told = sent + 1, nil
  end
end

-- Sends the messages that were not sent before.
local function send()
  if shape.streams then return send_and_add() end
  local messages = shape.messages
  for i = 1 + 2 * sent, #messages, 2 do
    if told then
      told = nil -- it was sent while the mapping still had streams
    else
      reached = reached + call('PUBLISH', messages[i], args[VALUES + messages[i + 1]])
    end
    sent = sent + 1
  end
end

local function clear_and_send()
  local at, last = shape.first_removed, #keys
  while at <= last do
    cleared = cleared + call('UNLINK', spread(keys, at, last - at < MOST_UNPACKED and last or at + MOST_UNPACKED - 1))
    at = at + MOST_UNPACKED
  end
  send()
end

---- A change: the fields that changed, or the whole image if there is no hash ----

local function write()
  if config_exists then
    set_fields(config, shape.changed)
    local gone = shape.gone
    for i = 1, #gone do call('HDEL', config, gone[i]) end
  elseif config and #shape.whole > 0 then
    set_fields(config, shape.whole)
    set_kept_fields()
  end
  if balance then call('SET', balance, args[VALUES + shape.balance], 'EX', shape.ttl) end
  if update_exists then set_fields(update, shape.update) end
  if shape.keep then keep_fields() end
  if shape.removed > 0 then forget_kept_fields() end
end

local function write_and_send()
  write()
  clear_and_send()
end

local function write_change()
  if said ~= 'newer' then return refusal() end
  return more_is_needed() or carry_out(write_and_send)
end

-- The same for the next change of its partition, without the steps of carry_out that are not needed then.
local function write_next_change()
  said = 'newer'
  if not shape.is_simple then return write_change() end
  find_keys()
  if not config_exists then return write_change() end
  call('HSET', guard, field, version)
  is_taken = true
  write_and_send()
  is_taken = false
  note_rest()
  return answer()
end

local function change()
  read_guard()
  if is_usual() then return write_next_change() end
  judge()
  return write_change()
end

---- A fill, for a row that was read in the database: only what is missing ----

local function fill_missing()
  local count = config and fill_fields(config, shape.whole) or 0
  if #shape.whole > 0 and not config_exists then set_kept_fields() end
  if shape.keep and not stored then keep_fields() end
  if update_exists then count = count + fill_fields(update, shape.update) end
  if balance and call('SET', balance, args[VALUES + shape.balance], 'EX', shape.ttl, 'NX') then count = count + 1 end
  differed = count
end

local function fill_and_send()
  fill_missing()
  clear_and_send()
end

-- Whether the row counts as a change.
local function is_as_good_as_a_change()
  -- An operator's new epoch makes a snapshot's reads authoritative.
  if stored and candidate.epoch > before.epoch then return true end
  -- A user who is marked is healed by any whole image.
  if mark and not deleted and shape.extent == 'whole' then return true end
  -- Of a linked table's many rows the last one that was read counts, if the guard's version is of a read too.
  return shape.keep and said == 'newer' and stored and before.origin == 'i'
end

local function write_fill()
  mode = 'fill'
  if is_as_good_as_a_change() then
    mode = 'change'
    return write_change()
  end
  if deleted then said = 'stale' end
  if said == 'stale' then return refusal() end
  local needed = more_is_needed()
  if needed then return needed end
  if not stored then return carry_out(fill_and_send) end
  fill_missing()
  if differed > 0 then clear_and_send() else said = 'duplicate' end
  note_rest()
  return answer()
end

local function fill()
  read_guard()
  judge()
  return write_fill()
end

---- A rebuild: the whole state, also of the version that stands there, for that heals what others did to it since ----

-- How much of what a rebuild writes is not there yet; the times of changes do not count. A balance that has expired is
-- no difference, nor is a portfolio that does not exist.
local function differences()
  local count = 0
  if config and config_exists then
    count = count_others(config, shape.changed)
    for _, name in ipairs(shape.gone) do count = count + call('HEXISTS', config, name) end
  elseif #shape.whole > 0 then
    count = 1
  end
  local kind = balance and kind_of(balance)
  if kind == 'string' and call('GET', balance) ~= args[VALUES + shape.balance] then count = count + 1 end
  if kind and kind ~= 'string' and kind ~= 'none' then count = count + 1 end
  if update_exists then
    local owned = {}
    for i = 1, #shape.changed, 2 do owned[shape.changed[i]] = true end
    count = count + count_others(update, shape.update, not shape.keep and owned)
  end
  for i = shape.first_removed, shape.first_removed + shape.removed - 1 do count = count + call('EXISTS', keys[i]) end
  return count
end

local function write_rebuilt()
  write()
  -- Times of changes too, which stand in the whole image alone.
  if config_exists and #shape.whole > 0 then set_fields(config, shape.whole) end
  if differed > 0 then clear_and_send() end
end

local function rebuild()
  read_guard()
  judge()
  is_again = said == 'duplicate'
  -- What a change has begun in other slots, and has not published yet, it finishes itself.
  if is_again and was_due then said, is_again = 'stale', false end
  -- What an incremental read says may be older than what a change wrote that is not in the log any more.
  if candidate.origin == 'i' and not is_again then return write_fill() end
  if said == 'stale' then return refusal() end
  local needed = more_is_needed()
  if needed then return needed end
  differed = differences()
  if is_again and differed == 0 and not mark then
    note_rest()
    return answer()
  end
  if is_again then said = 'healed' end
  return carry_out(write_rebuilt)
end

---- A mark: a change that could not be applied ----

local function set_mark()
  read_guard()
  parse_versions()
  local text = candidate.partition .. '|' .. string.format('%.0f', candidate.offset)
  if before and before.partition == candidate.partition and before.offset > candidate.offset then return plain_reply('stale') end
  if mark == text then return plain_reply('duplicate') end
  call('HSET', guard, shape.mark, text)
  -- A deleted user's guard expires when its time is over.
  if not deleted then call('PERSIST', guard) end
  return plain_reply('newer')
end

---- The messages of a plan whose keys were written in other slots ----

local function send_rest()
  read_guard()
  parse_pending()
  if not was_due then return 0 end
  sent = tonumber(match(pending, '^%d+'))
  local is_sent, failure = pcall(send)
  if not is_sent then
    call('HSET', guard, shape.pending, sent .. '|' .. pending_version)
    return error_of(failure)
  end
  call('HDEL', guard, shape.pending)
  return reached
end

---- How far a group is ----

-- Keys are its hash, [a key that is gone if Redis was emptied meanwhile]; args are 'advance' or 'remember', then fields and
-- offsets. 'advance' is refused where what stood there before is gone: to write would hide that Redis was emptied. It never
-- lowers an offset: a member that Kafka has dropped, and that does not know it, still writes its own.
local function keep_offsets()
  local command, is_advance = keys[2] and 'HSETNX' or 'HSET', args[1] == 'advance'
  if keys[2] and call('EXISTS', keys[2]) == 0 then return 'emptied' end
  local stored = is_advance and {} or nil
  for i = 2, is_advance and #args or 0, 2 do
    stored[i] = call('HGET', keys[1], args[i])
    if not stored[i] then return 'emptied' end
  end
  for i = 2, #args, 2 do
    if not is_advance or tonumber(stored[i]) < tonumber(args[i + 1]) then call(command, keys[1], args[i], args[i + 1]) end
  end
  return 'kept'
end

---- Shapes ----

local STEPS = {change = change, fill = fill, rebuild = rebuild, mark = set_mark}
local function prepared(text)
  if text == 'advance' or text == 'remember' then return {step = keep_offsets} end
  local found = cjson.decode(text)
  found.step = found.part == 'messages' and send_rest or STEPS[found.mode]
  found.mark, found.pending = '!' .. found.table, '>' .. found.table
  local at = 2
  if #found.changed + #found.whole > 0 then found.config, at = at, at + 1 end
  if found.balance then found.balance_key, at = at, at + 1 end
  if #found.update > 0 then found.update_key, at = at, at + 1 end
  for i = 1, found.streams and #found.streams or 0, 2 do
    if found.streams[i] > 0 then at = at + 1 end
  end
  found.first_removed = at
  -- Nothing that carry_out does for a deleted user, a linked table or another slot of a cluster.
  found.is_simple = found.removed == 0 and not found.keep and found.part ~= 'other_slot'
  return found
end

local function shape_of(text)
  local found = prepared(text)
  if kept_shapes >= MOST_SHAPES then shapes, kept_shapes = {}, 0 end
  shapes[text], kept_shapes = found, kept_shapes + 1
  return found
end

local function set_names()
  call, attempt, protected, spread, type_of = redis.call, redis.pcall, pcall, unpack, type
  match, find, sub = string.match, string.find, string.sub
end

return function(all_keys, all_arguments)
  if not call then set_names() end
  keys, args = all_keys, all_arguments
  shape = shapes[args[1]] or shape_of(args[1])
  guard, field, version, mode = keys[1], shape.table, args[2], shape.mode
  deleted, was_due, is_again, is_taken, differed, sent, reached, cleared = false, false, false, false, nil, 0, 0, 0
  told = nil
  local is_done, reply = protected(shape.step)
  if is_done then return reply end
  if is_taken then
    local is_back, failure = protected(put_guard_back)
    if not is_back then reply = failure end
  end
  return error_of(reply)
end

end)()
