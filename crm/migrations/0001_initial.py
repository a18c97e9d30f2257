import datetime
import django.contrib.postgres.indexes
import django.core.validators
import django.db.models.deletion
import pgtrigger.compiler
import pgtrigger.migrations
from django.conf import settings
from core.migrating import AllAtOnce
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('auth', '__first__'),
        ('pghistory', '0007_auto_20250421_0444'),
        ('wechat', '0001_initial'),
    ]

    operations = [
        AllAtOnce([
        migrations.CreateModel(
            name='Store',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('code', models.SlugField(max_length=40, unique=True, verbose_name='code')),
                ('name', models.CharField(max_length=80, verbose_name='name')),
                ('address', models.CharField(blank=True, max_length=200, verbose_name='address')),
                ('is_active', models.BooleanField(default=True, verbose_name='active')),
            ],
            options={
                'verbose_name': 'store',
                'verbose_name_plural': 'stores',
            },
        ),
        migrations.CreateModel(
            name='TagGroup',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=30, unique=True, verbose_name='name')),
                ('sort', models.PositiveSmallIntegerField(default=0, verbose_name='position')),
            ],
            options={
                'verbose_name': 'tag group',
                'verbose_name_plural': 'tag groups',
                'ordering': ['sort', 'id'],
            },
        ),
        migrations.CreateModel(
            name='TouchPolicy',
            fields=[
                ('id', models.PositiveSmallIntegerField(default=1, editable=False, primary_key=True, serialize=False)),
                ('quiet_from', models.TimeField(default=datetime.time(21, 30), verbose_name='quiet from')),
                ('quiet_until', models.TimeField(default=datetime.time(8, 30), help_text="In the member's time zone. The same hour twice: no quiet hours.", verbose_name='quiet until')),
                ('max_per_day', models.PositiveSmallIntegerField(default=1, verbose_name='at most in one day')),
                ('max_per_week', models.PositiveSmallIntegerField(default=3, verbose_name='at most in 7 days')),
                ('max_per_month', models.PositiveSmallIntegerField(default=8, verbose_name='at most in 30 days')),
                ('consent_rule', models.CharField(choices=[('implied', 'following counts as consent until withdrawn'), ('explicit', 'only members who agreed expressly')], default='implied', max_length=10, verbose_name='consent')),
                ('rests_on_holidays', models.BooleanField(default=True, verbose_name='rest on the days of the table')),
            ],
            options={
                'verbose_name': 'touch policy',
                'verbose_name_plural': 'touch policy',
                'constraints': [models.CheckConstraint(condition=models.Q(('id', 1)), name='there_is_one_touch_policy')],
            },
        ),
        migrations.CreateModel(
            name='Segment',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=60, unique=True, verbose_name='name')),
                ('note', models.CharField(blank=True, max_length=200, verbose_name='note')),
                ('rules', models.JSONField(default=dict, verbose_name='rules')),
                ('members_count', models.PositiveIntegerField(editable=False, null=True, verbose_name='members')),
                ('counted_at', models.DateTimeField(editable=False, null=True, verbose_name='counted at')),
                ('created_at', models.DateTimeField(editable=False, verbose_name='created at')),
                ('created_by', models.ForeignKey(editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name': 'segment',
                'verbose_name_plural': 'segments',
            },
        ),
        migrations.CreateModel(
            name='Holiday',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('day', models.DateField(unique=True, verbose_name='day')),
                ('name', models.CharField(blank=True, max_length=40, verbose_name='name')),
                ('policy', models.ForeignKey(default=1, editable=False, on_delete=django.db.models.deletion.CASCADE, related_name='holidays', to='crm.touchpolicy')),
            ],
            options={
                'verbose_name': 'day of rest',
                'verbose_name_plural': 'days of rest',
                'ordering': ['day'],
            },
        ),
        migrations.CreateModel(
            name='StoreEvent',
            fields=[
                ('pgh_id', models.AutoField(primary_key=True, serialize=False)),
                ('pgh_created_at', models.DateTimeField(auto_now_add=True)),
                ('pgh_label', models.TextField(help_text='The event label.')),
                ('id', models.BigIntegerField()),
                ('code', models.SlugField(db_index=False, max_length=40, verbose_name='code')),
                ('name', models.CharField(max_length=80, verbose_name='name')),
                ('address', models.CharField(blank=True, max_length=200, verbose_name='address')),
                ('is_active', models.BooleanField(default=True, verbose_name='active')),
                ('pgh_context', models.ForeignKey(db_constraint=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='pghistory.context')),
                ('pgh_obj', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='events', to='crm.store')),
            ],
            options={
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='Tag',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=30, verbose_name='name')),
                ('sort', models.PositiveSmallIntegerField(default=0, verbose_name='position')),
                ('group', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='tags', to='crm.taggroup', verbose_name='tag group')),
            ],
            options={
                'verbose_name': 'tag',
                'verbose_name_plural': 'tags',
                'ordering': ['group__sort', 'group_id', 'sort', 'id'],
                'constraints': [models.UniqueConstraint(fields=('group', 'name'), name='tag_name_once_per_group')],
            },
        ),
        migrations.CreateModel(
            name='TagGroupEvent',
            fields=[
                ('pgh_id', models.AutoField(primary_key=True, serialize=False)),
                ('pgh_created_at', models.DateTimeField(auto_now_add=True)),
                ('pgh_label', models.TextField(help_text='The event label.')),
                ('id', models.BigIntegerField()),
                ('name', models.CharField(max_length=30, verbose_name='name')),
                ('sort', models.PositiveSmallIntegerField(default=0, verbose_name='position')),
                ('pgh_context', models.ForeignKey(db_constraint=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='pghistory.context')),
                ('pgh_obj', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='events', to='crm.taggroup')),
            ],
            options={
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='TouchPolicyEvent',
            fields=[
                ('pgh_id', models.AutoField(primary_key=True, serialize=False)),
                ('pgh_created_at', models.DateTimeField(auto_now_add=True)),
                ('pgh_label', models.TextField(help_text='The event label.')),
                ('id', models.PositiveSmallIntegerField(default=1, editable=False, serialize=False)),
                ('quiet_from', models.TimeField(default=datetime.time(21, 30), verbose_name='quiet from')),
                ('quiet_until', models.TimeField(default=datetime.time(8, 30), help_text="In the member's time zone. The same hour twice: no quiet hours.", verbose_name='quiet until')),
                ('max_per_day', models.PositiveSmallIntegerField(default=1, verbose_name='at most in one day')),
                ('max_per_week', models.PositiveSmallIntegerField(default=3, verbose_name='at most in 7 days')),
                ('max_per_month', models.PositiveSmallIntegerField(default=8, verbose_name='at most in 30 days')),
                ('consent_rule', models.CharField(choices=[('implied', 'following counts as consent until withdrawn'), ('explicit', 'only members who agreed expressly')], default='implied', max_length=10, verbose_name='consent')),
                ('rests_on_holidays', models.BooleanField(default=True, verbose_name='rest on the days of the table')),
                ('pgh_context', models.ForeignKey(db_constraint=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='pghistory.context')),
                ('pgh_obj', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='events', to='crm.touchpolicy')),
            ],
            options={
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='SegmentEvent',
            fields=[
                ('pgh_id', models.AutoField(primary_key=True, serialize=False)),
                ('pgh_created_at', models.DateTimeField(auto_now_add=True)),
                ('pgh_label', models.TextField(help_text='The event label.')),
                ('id', models.BigIntegerField()),
                ('name', models.CharField(max_length=60, verbose_name='name')),
                ('note', models.CharField(blank=True, max_length=200, verbose_name='note')),
                ('rules', models.JSONField(default=dict, verbose_name='rules')),
                ('created_at', models.DateTimeField(editable=False, verbose_name='created at')),
                ('created_by', models.ForeignKey(db_constraint=False, editable=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', related_query_name='+', to=settings.AUTH_USER_MODEL)),
                ('pgh_context', models.ForeignKey(db_constraint=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='pghistory.context')),
                ('pgh_obj', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='events', to='crm.segment')),
            ],
            options={
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='Staff',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('work_userid', models.CharField(blank=True, max_length=64, null=True, unique=True, verbose_name='WeCom userid')),
                ('name', models.CharField(max_length=80, verbose_name='name')),
                ('is_active', models.BooleanField(default=True, verbose_name='active')),
                ('user', models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='staff', to=settings.AUTH_USER_MODEL, verbose_name='login')),
                ('store', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='staff', to='crm.store', verbose_name='store')),
            ],
            options={
                'verbose_name': 'guide',
                'verbose_name_plural': 'guides',
            },
        ),
        migrations.CreateModel(
            name='TagEvent',
            fields=[
                ('pgh_id', models.AutoField(primary_key=True, serialize=False)),
                ('pgh_created_at', models.DateTimeField(auto_now_add=True)),
                ('pgh_label', models.TextField(help_text='The event label.')),
                ('id', models.BigIntegerField()),
                ('name', models.CharField(max_length=30, verbose_name='name')),
                ('sort', models.PositiveSmallIntegerField(default=0, verbose_name='position')),
                ('pgh_context', models.ForeignKey(db_constraint=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='pghistory.context')),
                ('pgh_obj', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='events', to='crm.tag')),
                ('group', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', related_query_name='+', to='crm.taggroup', verbose_name='tag group')),
            ],
            options={
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='ChannelCode',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=60, verbose_name='name')),
                ('kind', models.CharField(choices=[('oa', 'official account'), ('work', 'WeCom contact')], default='oa', editable=False, max_length=4, verbose_name='kind')),
                ('scene', models.CharField(editable=False, max_length=30, unique=True, verbose_name='scene')),
                ('welcome_text', models.TextField(blank=True, max_length=600, verbose_name='welcome text')),
                ('welcome_title', models.CharField(blank=True, max_length=60, verbose_name='link title')),
                ('welcome_description', models.CharField(blank=True, max_length=120, verbose_name='link description')),
                ('welcome_url', models.CharField(blank=True, max_length=500, validators=[django.core.validators.RegexValidator('^(https?://[^\\s]+|/[^\\s/\\\\][^\\s]*|/)$', 'Give a full address (https://…) or a path of the shop (/…).')], verbose_name='link address')),
                ('welcome_image_url', models.CharField(blank=True, max_length=500, validators=[django.core.validators.RegexValidator('^(https?://[^\\s]+|/[^\\s/\\\\][^\\s]*|/)$', 'Give a full address (https://…) or a path of the shop (/…).')], verbose_name='link picture')),
                ('is_active', models.BooleanField(default=True, verbose_name='active')),
                ('created_at', models.DateTimeField(editable=False, verbose_name='created at')),
                ('qr_url', models.CharField(blank=True, editable=False, max_length=500, verbose_name='address in the QR code')),
                ('qr_ticket', models.CharField(blank=True, editable=False, max_length=200, verbose_name='ticket')),
                ('qr_made_at', models.DateTimeField(blank=True, editable=False, null=True, verbose_name='QR code made at')),
                ('qr_error', models.CharField(blank=True, editable=False, max_length=300, verbose_name='last refusal')),
                ('account', models.ForeignKey(limit_choices_to={'is_active': True, 'kind__in': ['service', 'subscription', 'work']}, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='wechat.account', verbose_name='account')),
                ('staff', models.ForeignKey(blank=True, help_text='A WeCom code needs the guide whom the customer adds.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='codes', to='crm.staff', verbose_name='guide')),
                ('store', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='codes', to='crm.store', verbose_name='store')),
                ('tags', models.ManyToManyField(blank=True, related_name='codes', to='crm.tag', verbose_name='automatic tags')),
            ],
            options={
                'verbose_name': 'channel code',
                'verbose_name_plural': 'channel codes',
                'constraints': [models.CheckConstraint(condition=models.Q(('kind', 'oa'), ('staff__isnull', False), _connector='OR'), name='work_code_names_its_guide')],
            },
        ),
        migrations.CreateModel(
            name='HolidayEvent',
            fields=[
                ('pgh_id', models.AutoField(primary_key=True, serialize=False)),
                ('pgh_created_at', models.DateTimeField(auto_now_add=True)),
                ('pgh_label', models.TextField(help_text='The event label.')),
                ('id', models.BigIntegerField()),
                ('day', models.DateField(verbose_name='day')),
                ('name', models.CharField(blank=True, max_length=40, verbose_name='name')),
                ('pgh_context', models.ForeignKey(db_constraint=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='pghistory.context')),
                ('pgh_obj', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='events', to='crm.holiday')),
                ('policy', models.ForeignKey(db_constraint=False, default=1, editable=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', related_query_name='+', to='crm.touchpolicy')),
            ],
            options={
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='StaffEvent',
            fields=[
                ('pgh_id', models.AutoField(primary_key=True, serialize=False)),
                ('pgh_created_at', models.DateTimeField(auto_now_add=True)),
                ('pgh_label', models.TextField(help_text='The event label.')),
                ('id', models.BigIntegerField()),
                ('work_userid', models.CharField(blank=True, max_length=64, null=True, verbose_name='WeCom userid')),
                ('name', models.CharField(max_length=80, verbose_name='name')),
                ('is_active', models.BooleanField(default=True, verbose_name='active')),
                ('pgh_context', models.ForeignKey(db_constraint=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='pghistory.context')),
                ('pgh_obj', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='events', to='crm.staff')),
                ('user', models.ForeignKey(blank=True, db_constraint=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', related_query_name='+', to=settings.AUTH_USER_MODEL, verbose_name='login')),
                ('store', models.ForeignKey(blank=True, db_constraint=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', related_query_name='+', to='crm.store', verbose_name='store')),
            ],
            options={
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='Member',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(blank=True, max_length=80, verbose_name='name')),
                ('avatar_url', models.URLField(blank=True, max_length=500, verbose_name='avatar')),
                ('birthday', models.DateField(blank=True, null=True, verbose_name='birthday')),
                ('time_zone', models.CharField(blank=True, help_text="Empty: the shop's. Example: Asia/Urumqi", max_length=40, verbose_name='time zone')),
                ('note', models.CharField(blank=True, max_length=500, verbose_name='note')),
                ('joined_via', models.CharField(choices=[('follow', 'followed'), ('login', 'logged in'), ('contact', 'WeCom contact'), ('import', 'imported'), ('staff', 'made by staff')], default='follow', max_length=12, verbose_name='became a member by')),
                ('session_version', models.PositiveIntegerField(default=1, verbose_name='session version')),
                ('created_at', models.DateTimeField(verbose_name='member since')),
                ('merged_into', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='tombstones', to='crm.member', verbose_name='merged into')),
                ('source', models.ForeignKey(blank=True, help_text='The first channel code that she came through; it stays.', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='members', to='crm.channelcode', verbose_name='source')),
            ],
            options={
                'verbose_name': 'member',
                'verbose_name_plural': 'members',
                'permissions': [('view_phone', 'Can see full phone numbers')],
                'indexes': [models.Index(fields=['created_at'], name='member_by_birth'), models.Index(condition=models.Q(('time_zone', ''), _negated=True), fields=['time_zone'], name='member_in_another_zone')],
                'constraints': [models.CheckConstraint(condition=models.Q(('merged_into', models.F('id')), _negated=True), name='member_is_not_merged_into_herself')],
            },
        ),
        migrations.CreateModel(
            name='ChannelCodeEvent',
            fields=[
                ('pgh_id', models.AutoField(primary_key=True, serialize=False)),
                ('pgh_created_at', models.DateTimeField(auto_now_add=True)),
                ('pgh_label', models.TextField(help_text='The event label.')),
                ('id', models.BigIntegerField()),
                ('name', models.CharField(max_length=60, verbose_name='name')),
                ('kind', models.CharField(choices=[('oa', 'official account'), ('work', 'WeCom contact')], default='oa', editable=False, max_length=4, verbose_name='kind')),
                ('scene', models.CharField(editable=False, max_length=30, verbose_name='scene')),
                ('welcome_text', models.TextField(blank=True, max_length=600, verbose_name='welcome text')),
                ('welcome_title', models.CharField(blank=True, max_length=60, verbose_name='link title')),
                ('welcome_description', models.CharField(blank=True, max_length=120, verbose_name='link description')),
                ('welcome_url', models.CharField(blank=True, max_length=500, validators=[django.core.validators.RegexValidator('^(https?://[^\\s]+|/[^\\s/\\\\][^\\s]*|/)$', 'Give a full address (https://…) or a path of the shop (/…).')], verbose_name='link address')),
                ('welcome_image_url', models.CharField(blank=True, max_length=500, validators=[django.core.validators.RegexValidator('^(https?://[^\\s]+|/[^\\s/\\\\][^\\s]*|/)$', 'Give a full address (https://…) or a path of the shop (/…).')], verbose_name='link picture')),
                ('is_active', models.BooleanField(default=True, verbose_name='active')),
                ('created_at', models.DateTimeField(editable=False, verbose_name='created at')),
                ('account', models.ForeignKey(db_constraint=False, limit_choices_to={'is_active': True, 'kind__in': ['service', 'subscription', 'work']}, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', related_query_name='+', to='wechat.account', verbose_name='account')),
                ('pgh_context', models.ForeignKey(db_constraint=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='pghistory.context')),
                ('pgh_obj', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='events', to='crm.channelcode')),
                ('staff', models.ForeignKey(blank=True, db_constraint=False, help_text='A WeCom code needs the guide whom the customer adds.', null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', related_query_name='+', to='crm.staff', verbose_name='guide')),
                ('store', models.ForeignKey(blank=True, db_constraint=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', related_query_name='+', to='crm.store', verbose_name='store')),
            ],
            options={
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='Touch',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('purpose', models.CharField(choices=[('marketing', 'marketing'), ('service', 'service')], max_length=10, verbose_name='purpose')),
                ('channel', models.CharField(blank=True, max_length=12, verbose_name='channel')),
                ('origin', models.CharField(max_length=60, verbose_name='origin')),
                ('answer', models.CharField(choices=[('send', 'sent'), ('skip', 'skipped'), ('defer', 'deferred')], default='send', max_length=5, verbose_name='verdict')),
                ('reason', models.CharField(blank=True, max_length=24, verbose_name='reason')),
                ('at', models.DateTimeField(verbose_name='at')),
                ('member', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='touches', to='crm.member', verbose_name='member')),
            ],
            options={
                'verbose_name': 'touch',
                'verbose_name_plural': 'touches',
                'indexes': [models.Index(fields=['member', '-at'], name='touch_by_member'), django.contrib.postgres.indexes.BrinIndex(autosummarize=True, fields=['at'], name='touch_by_time')],
                'constraints': [models.UniqueConstraint(fields=('origin', 'member'), name='member_touched_once_per_origin')],
            },
        ),
        migrations.CreateModel(
            name='Identity',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('openid', 'openid'), ('unionid', 'unionid'), ('external_userid', 'WeCom external userid'), ('phone', 'phone'), ('import', 'imported number')], max_length=16, verbose_name='kind')),
                ('value', models.CharField(max_length=128, verbose_name='value')),
                ('is_verified', models.BooleanField(default=True, verbose_name='verified')),
                ('is_following', models.BooleanField(default=False, verbose_name='following')),
                ('followed_at', models.DateTimeField(blank=True, null=True, verbose_name='followed at')),
                ('unfollowed_at', models.DateTimeField(blank=True, null=True, verbose_name='unfollowed at')),
                ('created_at', models.DateTimeField(verbose_name='created at')),
                ('lookup_due_at', models.DateTimeField(blank=True, null=True, verbose_name='look-up due at')),
                ('lookup_attempts', models.PositiveSmallIntegerField(default=0, verbose_name='look-ups tried')),
                ('account', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='wechat.account', verbose_name='account')),
                ('member', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='identities', to='crm.member', verbose_name='member')),
            ],
            options={
                'verbose_name': 'identity',
                'verbose_name_plural': 'identities',
                'indexes': [models.Index(fields=['value'], name='identity_by_value'), models.Index(condition=models.Q(('is_following', True)), fields=['account', 'member'], name='identity_following'), models.Index(condition=models.Q(('lookup_due_at__isnull', False)), fields=['lookup_due_at'], name='identity_lookup_due')],
                'constraints': [models.UniqueConstraint(condition=models.Q(('is_verified', True)), fields=('kind', 'account', 'value'), name='identity_names_one_member', nulls_distinct=False), models.UniqueConstraint(fields=('member', 'kind', 'account', 'value'), name='member_has_an_identity_once', nulls_distinct=False), models.CheckConstraint(condition=models.Q(('is_verified', True), ('kind', 'phone'), _connector='OR'), name='only_phones_are_unverified')],
            },
        ),
        migrations.CreateModel(
            name='MemberStats',
            fields=[
                ('member', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='stats', serialize=False, to='crm.member', verbose_name='member')),
                ('orders_count', models.PositiveIntegerField(default=0, verbose_name='orders')),
                ('paid_fen', models.BigIntegerField(default=0, verbose_name='paid')),
                ('refunded_fen', models.BigIntegerField(default=0, verbose_name='refunded')),
                ('first_paid_at', models.DateTimeField(blank=True, null=True, verbose_name='first order at')),
                ('last_paid_at', models.DateTimeField(blank=True, null=True, verbose_name='last order at')),
                ('last_active_at', models.DateTimeField(blank=True, null=True, verbose_name='last active at')),
                ('last_touch_at', models.DateTimeField(blank=True, null=True, verbose_name='last touch at')),
                ('last_visit_at', models.DateTimeField(blank=True, null=True, verbose_name='last visit at')),
                ('visits_count', models.PositiveIntegerField(default=0, verbose_name='visits')),
                ('marketing_consent', models.BooleanField(blank=True, null=True, verbose_name='agreed to marketing')),
                ('consent_at', models.DateTimeField(blank=True, null=True, verbose_name='consent answered at')),
            ],
            options={
                'verbose_name': "member's figures",
                'verbose_name_plural': "members' figures",
                'indexes': [models.Index(fields=['last_paid_at'], name='member_by_last_order'), models.Index(fields=['paid_fen'], name='member_by_spend')],
                'constraints': [models.CheckConstraint(condition=models.Q(('paid_fen__gte', 0), ('refunded_fen__gte', 0)), name='member_amounts_never_negative')],
            },
        ),
        migrations.CreateModel(
            name='Consent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('purpose', models.CharField(choices=[('marketing', 'marketing messages'), ('personalisation', 'personal recommendations'), ('phone', 'use of the phone number')], max_length=16, verbose_name='purpose')),
                ('is_given', models.BooleanField(verbose_name='given')),
                ('channel', models.CharField(help_text='page, message, store, import', max_length=20, verbose_name='where')),
                ('text_version', models.CharField(max_length=40, verbose_name='version of the text')),
                ('proof', models.CharField(blank=True, max_length=200, verbose_name='proof')),
                ('at', models.DateTimeField(verbose_name='at')),
                ('recorded_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='by')),
                ('member', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='consents', to='crm.member', verbose_name='member')),
            ],
            options={
                'verbose_name': 'consent',
                'verbose_name_plural': 'consents',
                'indexes': [models.Index(fields=['member', 'purpose', '-at'], name='consent_latest')],
            },
        ),
        migrations.CreateModel(
            name='ChannelScan',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField(verbose_name='at')),
                ('is_new', models.BooleanField(default=False, verbose_name='new follower')),
                ('greeting', models.CharField(choices=[('none', 'nothing to say'), ('pending', 'waiting'), ('queued', 'handed over'), ('sent', 'sent'), ('failed', 'failed'), ('expired', 'too late')], default='none', max_length=8, verbose_name='welcome')),
                ('greeting_error', models.CharField(blank=True, max_length=200, verbose_name='refusal')),
                ('welcome_code', models.CharField(blank=True, editable=False, max_length=128)),
                ('code', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='scans', to='crm.channelcode', verbose_name='channel code')),
                ('member', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='scans', to='crm.member', verbose_name='member')),
            ],
            options={
                'verbose_name': 'scan',
                'verbose_name_plural': 'scans',
                'indexes': [models.Index(fields=['code', '-at'], name='scan_by_code'), models.Index(condition=models.Q(('greeting', 'pending')), fields=['at'], name='scan_greeting_due')],
            },
        ),
        migrations.CreateModel(
            name='Activity',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('joined', 'became a member'), ('followed', 'followed'), ('unfollowed', 'unfollowed'), ('scanned', 'scanned a code'), ('message', 'sent a message'), ('menu', 'tapped a menu'), ('visited', 'visited the shop'), ('viewed_product', 'viewed a product'), ('added_to_cart', 'added to the cart'), ('ordered', 'placed an order'), ('paid', 'paid'), ('refunded', 'was refunded'), ('shipped', 'parcel sent'), ('cancelled', 'order cancelled'), ('joined_group', 'joined a group'), ('left_group', 'left a group'), ('contact_added', 'added a guide'), ('contact_removed', 'contact removed'), ('touched', 'touched'), ('opened', 'opened a link'), ('tagged', 'tagged'), ('subscribed', 'answered a subscription'), ('merged', 'merged with another member')], max_length=16, verbose_name='what')),
                ('at', models.DateTimeField(verbose_name='at')),
                ('subject', models.CharField(blank=True, default='', max_length=80, verbose_name='about')),
                ('amount_fen', models.BigIntegerField(default=0, verbose_name='amount')),
                ('data', models.JSONField(blank=True, default=dict, verbose_name='details')),
                ('member', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='activities', to='crm.member', verbose_name='member')),
            ],
            options={
                'verbose_name': 'activity',
                'verbose_name_plural': 'activities',
                'indexes': [models.Index(fields=['member', '-at', '-id'], name='activity_by_member'), models.Index(fields=['kind', 'at'], name='activity_by_kind')],
            },
        ),
        migrations.CreateModel(
            name='MemberNameBirthdayTimeZoneNoteEvent',
            fields=[
                ('pgh_id', models.AutoField(primary_key=True, serialize=False)),
                ('pgh_created_at', models.DateTimeField(auto_now_add=True)),
                ('pgh_label', models.TextField(help_text='The event label.')),
                ('name', models.CharField(blank=True, max_length=80, verbose_name='name')),
                ('birthday', models.DateField(blank=True, null=True, verbose_name='birthday')),
                ('time_zone', models.CharField(blank=True, help_text="Empty: the shop's. Example: Asia/Urumqi", max_length=40, verbose_name='time zone')),
                ('note', models.CharField(blank=True, max_length=500, verbose_name='note')),
                ('pgh_context', models.ForeignKey(db_constraint=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='pghistory.context')),
                ('pgh_obj', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='name_birthday_time_zone_note_events', to='crm.member')),
            ],
            options={
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='MemberTag',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('origin', models.CharField(max_length=40, verbose_name='origin')),
                ('at', models.DateTimeField(verbose_name='at')),
                ('member', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='member_tags', to='crm.member', verbose_name='member')),
                ('tag', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='member_tags', to='crm.tag', verbose_name='tag')),
            ],
            options={
                'verbose_name': "member's tag",
                'verbose_name_plural': "members' tags",
                'indexes': [models.Index(fields=['tag', 'member'], name='member_by_tag')],
                'constraints': [models.UniqueConstraint(fields=('member', 'tag'), name='member_carries_a_tag_once')],
            },
        ),
        migrations.CreateModel(
            name='Contact',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('userid', models.CharField(max_length=64, verbose_name='WeCom userid')),
                ('state', models.CharField(blank=True, max_length=64, verbose_name='channel')),
                ('remark', models.CharField(blank=True, max_length=80, verbose_name='remark')),
                ('added_at', models.DateTimeField(blank=True, null=True, verbose_name='added at')),
                ('removed_at', models.DateTimeField(blank=True, null=True, verbose_name='removed at')),
                ('removed_by', models.CharField(blank=True, max_length=12, verbose_name='removed by')),
                ('identity', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='contacts', to='crm.identity', verbose_name='identity')),
            ],
            options={
                'verbose_name': 'WeCom contact',
                'verbose_name_plural': 'WeCom contacts',
                'indexes': [models.Index(fields=['userid'], name='contact_by_guide')],
                'constraints': [models.UniqueConstraint(fields=('identity', 'userid'), name='contact_pair_once')],
            },
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='store',
            trigger=pgtrigger.compiler.Trigger(name='insert_insert', sql=pgtrigger.compiler.UpsertTriggerSql(func='INSERT INTO "crm_storeevent" ("address", "code", "id", "is_active", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id") VALUES (NEW."address", NEW."code", NEW."id", NEW."is_active", NEW."name", _pgh_attach_context(), NOW(), \'insert\', NEW."id"); RETURN NULL;', hash='f1a069f9079652cb4acedba3b6bf0c49d2be0f3f', operation='INSERT', pgid='pgtrigger_insert_insert_8b7ec', table='crm_store', when='AFTER')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='store',
            trigger=pgtrigger.compiler.Trigger(name='update_update', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD.* IS DISTINCT FROM NEW.*)', func='INSERT INTO "crm_storeevent" ("address", "code", "id", "is_active", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id") VALUES (NEW."address", NEW."code", NEW."id", NEW."is_active", NEW."name", _pgh_attach_context(), NOW(), \'update\', NEW."id"); RETURN NULL;', hash='4a710baf813613b78e175a6752141b700906f77a', operation='UPDATE', pgid='pgtrigger_update_update_3ee79', table='crm_store', when='AFTER')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='taggroup',
            trigger=pgtrigger.compiler.Trigger(name='insert_insert', sql=pgtrigger.compiler.UpsertTriggerSql(func='INSERT INTO "crm_taggroupevent" ("id", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "sort") VALUES (NEW."id", NEW."name", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."sort"); RETURN NULL;', hash='9b79be9dc9006f87a8506380828da4f9851023c4', operation='INSERT', pgid='pgtrigger_insert_insert_6b485', table='crm_taggroup', when='AFTER')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='taggroup',
            trigger=pgtrigger.compiler.Trigger(name='update_update', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD.* IS DISTINCT FROM NEW.*)', func='INSERT INTO "crm_taggroupevent" ("id", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "sort") VALUES (NEW."id", NEW."name", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."sort"); RETURN NULL;', hash='a3c81bcf289f56e647edc2fd02346c7235e97faf', operation='UPDATE', pgid='pgtrigger_update_update_7ae89', table='crm_taggroup', when='AFTER')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='touchpolicy',
            trigger=pgtrigger.compiler.Trigger(name='insert_insert', sql=pgtrigger.compiler.UpsertTriggerSql(func='INSERT INTO "crm_touchpolicyevent" ("consent_rule", "id", "max_per_day", "max_per_month", "max_per_week", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "quiet_from", "quiet_until", "rests_on_holidays") VALUES (NEW."consent_rule", NEW."id", NEW."max_per_day", NEW."max_per_month", NEW."max_per_week", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."quiet_from", NEW."quiet_until", NEW."rests_on_holidays"); RETURN NULL;', hash='f1e773acbff71623762acff5bd5abf5fb4cca8fd', operation='INSERT', pgid='pgtrigger_insert_insert_53431', table='crm_touchpolicy', when='AFTER')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='touchpolicy',
            trigger=pgtrigger.compiler.Trigger(name='update_update', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD.* IS DISTINCT FROM NEW.*)', func='INSERT INTO "crm_touchpolicyevent" ("consent_rule", "id", "max_per_day", "max_per_month", "max_per_week", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "quiet_from", "quiet_until", "rests_on_holidays") VALUES (NEW."consent_rule", NEW."id", NEW."max_per_day", NEW."max_per_month", NEW."max_per_week", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."quiet_from", NEW."quiet_until", NEW."rests_on_holidays"); RETURN NULL;', hash='9f6c303867d33fee4e241c6f3e4f3eeef8900e5a', operation='UPDATE', pgid='pgtrigger_update_update_c78dc', table='crm_touchpolicy', when='AFTER')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='member',
            trigger=pgtrigger.compiler.Trigger(name='update_update', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD."birthday" IS DISTINCT FROM (NEW."birthday") OR OLD."name" IS DISTINCT FROM (NEW."name") OR OLD."note" IS DISTINCT FROM (NEW."note") OR OLD."time_zone" IS DISTINCT FROM (NEW."time_zone"))', func='INSERT INTO "crm_membernamebirthdaytimezonenoteevent" ("birthday", "name", "note", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "time_zone") VALUES (NEW."birthday", NEW."name", NEW."note", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."time_zone"); RETURN NULL;', hash='b463901cceb0de1402bd78fd16bfd54ed44e08c0', operation='UPDATE', pgid='pgtrigger_update_update_85e83', table='crm_member', when='AFTER')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='segment',
            trigger=pgtrigger.compiler.Trigger(name='insert_insert', sql=pgtrigger.compiler.UpsertTriggerSql(func='INSERT INTO "crm_segmentevent" ("created_at", "created_by_id", "id", "name", "note", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "rules") VALUES (NEW."created_at", NEW."created_by_id", NEW."id", NEW."name", NEW."note", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."rules"); RETURN NULL;', hash='e03136d6c84c76337bcb8bb6a2706dd25c669ca8', operation='INSERT', pgid='pgtrigger_insert_insert_427fa', table='crm_segment', when='AFTER')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='segment',
            trigger=pgtrigger.compiler.Trigger(name='update_update', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD."created_at" IS DISTINCT FROM (NEW."created_at") OR OLD."created_by_id" IS DISTINCT FROM (NEW."created_by_id") OR OLD."id" IS DISTINCT FROM (NEW."id") OR OLD."name" IS DISTINCT FROM (NEW."name") OR OLD."note" IS DISTINCT FROM (NEW."note") OR OLD."rules" IS DISTINCT FROM (NEW."rules"))', func='INSERT INTO "crm_segmentevent" ("created_at", "created_by_id", "id", "name", "note", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "rules") VALUES (NEW."created_at", NEW."created_by_id", NEW."id", NEW."name", NEW."note", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."rules"); RETURN NULL;', hash='1a8556e05bbd3e7b14e1557a40f286f5300ebec1', operation='UPDATE', pgid='pgtrigger_update_update_a34e6', table='crm_segment', when='AFTER')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='staff',
            trigger=pgtrigger.compiler.Trigger(name='insert_insert', sql=pgtrigger.compiler.UpsertTriggerSql(func='INSERT INTO "crm_staffevent" ("id", "is_active", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "store_id", "user_id", "work_userid") VALUES (NEW."id", NEW."is_active", NEW."name", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."store_id", NEW."user_id", NEW."work_userid"); RETURN NULL;', hash='9f5cb147ede27f2af8d021fb00db8549360225a8', operation='INSERT', pgid='pgtrigger_insert_insert_b9c29', table='crm_staff', when='AFTER')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='staff',
            trigger=pgtrigger.compiler.Trigger(name='update_update', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD.* IS DISTINCT FROM NEW.*)', func='INSERT INTO "crm_staffevent" ("id", "is_active", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "store_id", "user_id", "work_userid") VALUES (NEW."id", NEW."is_active", NEW."name", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."store_id", NEW."user_id", NEW."work_userid"); RETURN NULL;', hash='aa9329a2d7f158504fc0a5b7291d5d648e9d64a7', operation='UPDATE', pgid='pgtrigger_update_update_7de22', table='crm_staff', when='AFTER')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='channelcode',
            trigger=pgtrigger.compiler.Trigger(name='insert_insert', sql=pgtrigger.compiler.UpsertTriggerSql(func='INSERT INTO "crm_channelcodeevent" ("account_id", "created_at", "id", "is_active", "kind", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "scene", "staff_id", "store_id", "welcome_description", "welcome_image_url", "welcome_text", "welcome_title", "welcome_url") VALUES (NEW."account_id", NEW."created_at", NEW."id", NEW."is_active", NEW."kind", NEW."name", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."scene", NEW."staff_id", NEW."store_id", NEW."welcome_description", NEW."welcome_image_url", NEW."welcome_text", NEW."welcome_title", NEW."welcome_url"); RETURN NULL;', hash='afa3971dac2a328be399cc7781d3c55859c23f54', operation='INSERT', pgid='pgtrigger_insert_insert_78ca4', table='crm_channelcode', when='AFTER')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='channelcode',
            trigger=pgtrigger.compiler.Trigger(name='update_update', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD."account_id" IS DISTINCT FROM (NEW."account_id") OR OLD."created_at" IS DISTINCT FROM (NEW."created_at") OR OLD."id" IS DISTINCT FROM (NEW."id") OR OLD."is_active" IS DISTINCT FROM (NEW."is_active") OR OLD."kind" IS DISTINCT FROM (NEW."kind") OR OLD."name" IS DISTINCT FROM (NEW."name") OR OLD."scene" IS DISTINCT FROM (NEW."scene") OR OLD."staff_id" IS DISTINCT FROM (NEW."staff_id") OR OLD."store_id" IS DISTINCT FROM (NEW."store_id") OR OLD."welcome_description" IS DISTINCT FROM (NEW."welcome_description") OR OLD."welcome_image_url" IS DISTINCT FROM (NEW."welcome_image_url") OR OLD."welcome_text" IS DISTINCT FROM (NEW."welcome_text") OR OLD."welcome_title" IS DISTINCT FROM (NEW."welcome_title") OR OLD."welcome_url" IS DISTINCT FROM (NEW."welcome_url"))', func='INSERT INTO "crm_channelcodeevent" ("account_id", "created_at", "id", "is_active", "kind", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "scene", "staff_id", "store_id", "welcome_description", "welcome_image_url", "welcome_text", "welcome_title", "welcome_url") VALUES (NEW."account_id", NEW."created_at", NEW."id", NEW."is_active", NEW."kind", NEW."name", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."scene", NEW."staff_id", NEW."store_id", NEW."welcome_description", NEW."welcome_image_url", NEW."welcome_text", NEW."welcome_title", NEW."welcome_url"); RETURN NULL;', hash='76e60e7c92c7ab1d575fd07b72295f9923fccce5', operation='UPDATE', pgid='pgtrigger_update_update_f62da', table='crm_channelcode', when='AFTER')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='tag',
            trigger=pgtrigger.compiler.Trigger(name='insert_insert', sql=pgtrigger.compiler.UpsertTriggerSql(func='INSERT INTO "crm_tagevent" ("group_id", "id", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "sort") VALUES (NEW."group_id", NEW."id", NEW."name", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."sort"); RETURN NULL;', hash='bc8e546c26ef1e0399d833ebdcf3bd95c3571191', operation='INSERT', pgid='pgtrigger_insert_insert_7ad15', table='crm_tag', when='AFTER')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='tag',
            trigger=pgtrigger.compiler.Trigger(name='update_update', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD.* IS DISTINCT FROM NEW.*)', func='INSERT INTO "crm_tagevent" ("group_id", "id", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "sort") VALUES (NEW."group_id", NEW."id", NEW."name", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."sort"); RETURN NULL;', hash='91b43798e74532931b985da3b2e58f642800bab1', operation='UPDATE', pgid='pgtrigger_update_update_ba07a', table='crm_tag', when='AFTER')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='holiday',
            trigger=pgtrigger.compiler.Trigger(name='insert_insert', sql=pgtrigger.compiler.UpsertTriggerSql(func='INSERT INTO "crm_holidayevent" ("day", "id", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "policy_id") VALUES (NEW."day", NEW."id", NEW."name", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."policy_id"); RETURN NULL;', hash='039c8c76271a31108411f13680da9dabac2d8938', operation='INSERT', pgid='pgtrigger_insert_insert_bd854', table='crm_holiday', when='AFTER')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='holiday',
            trigger=pgtrigger.compiler.Trigger(name='update_update', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD.* IS DISTINCT FROM NEW.*)', func='INSERT INTO "crm_holidayevent" ("day", "id", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "policy_id") VALUES (NEW."day", NEW."id", NEW."name", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."policy_id"); RETURN NULL;', hash='03acf88d5403f660e1ba38b988ba6c29214838cc', operation='UPDATE', pgid='pgtrigger_update_update_c646b', table='crm_holiday', when='AFTER')),
        ),
        ])
    ]
