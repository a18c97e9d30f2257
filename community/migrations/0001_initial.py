import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('crm', '0001_initial'),
        ('wechat', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Group',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('chat_id', models.CharField(max_length=64, verbose_name='chat id')),
                ('name', models.CharField(blank=True, max_length=128, verbose_name='name')),
                ('owner_userid', models.CharField(blank=True, max_length=64, verbose_name="owner's userid")),
                ('notice', models.TextField(blank=True, verbose_name='announcement')),
                ('status', models.CharField(choices=[('active', 'in use'), ('dismissed', 'dissolved')], default='active', max_length=9, verbose_name='status')),
                ('created_at', models.DateTimeField(null=True, verbose_name='created at')),
                ('customers_count', models.PositiveIntegerField(default=0, verbose_name='customers')),
                ('staff_count', models.PositiveIntegerField(default=0, verbose_name='staff')),
                ('read_at', models.DateTimeField(null=True, verbose_name='last read')),
                ('due_at', models.DateTimeField(null=True, verbose_name='read again at')),
                ('attempts', models.PositiveSmallIntegerField(default=0, verbose_name='attempts')),
                ('last_error', models.CharField(blank=True, max_length=300, verbose_name='last error')),
                ('account', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='wechat.account', verbose_name='WeCom account')),
                ('owner', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='crm.staff', verbose_name='group owner')),
            ],
            options={
                'verbose_name': 'customer group',
                'verbose_name_plural': 'customer groups',
                'permissions': [('sync_group', 'Can sync groups from WeCom')],
                'indexes': [models.Index(condition=models.Q(('due_at__isnull', False)), fields=['due_at'], name='group_due')],
                'constraints': [models.UniqueConstraint(fields=('account', 'chat_id'), name='group_once_per_account')],
            },
        ),
        migrations.CreateModel(
            name='GroupDay',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('day', models.DateField(db_index=True, verbose_name='day')),
                ('joined', models.PositiveIntegerField(default=0, verbose_name='joined')),
                ('left', models.PositiveIntegerField(default=0, verbose_name='left')),
                ('customers', models.PositiveIntegerField(default=0, verbose_name='customers')),
                ('group', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='days', to='community.group', verbose_name='customer group')),
            ],
            options={
                'verbose_name': 'day of a group',
                'verbose_name_plural': 'days of groups',
                'constraints': [models.UniqueConstraint(fields=('group', 'day'), name='one_row_per_group_and_day')],
            },
        ),
        migrations.CreateModel(
            name='GroupMember',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('staff', 'staff'), ('customer', 'customer')], max_length=8, verbose_name='kind')),
                ('platform_id', models.CharField(max_length=64, verbose_name='id in WeCom')),
                ('unionid', models.CharField(blank=True, max_length=64, verbose_name='unionid')),
                ('name', models.CharField(blank=True, max_length=80, verbose_name='name')),
                ('join_scene', models.PositiveSmallIntegerField(choices=[(0, 'unknown'), (1, 'invited'), (2, 'invitation link'), (3, 'QR code')], default=0, verbose_name='joined by')),
                ('state', models.CharField(blank=True, max_length=64, verbose_name='channel')),
                ('joined_at', models.DateTimeField(verbose_name='joined at')),
                ('left_at', models.DateTimeField(null=True, verbose_name='left at')),
                ('group', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='stays', to='community.group', verbose_name='customer group')),
                ('member', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='crm.member', verbose_name='member')),
            ],
            options={
                'verbose_name': 'group member',
                'verbose_name_plural': 'group members',
                'constraints': [models.UniqueConstraint(condition=models.Q(('left_at__isnull', True)), fields=('group', 'platform_id'), name='in_a_group_once_at_a_time'), models.UniqueConstraint(fields=('group', 'platform_id', 'joined_at'), name='one_stay_per_time_of_joining')],
            },
        ),
    ]
